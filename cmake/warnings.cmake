# Flags that every target of the project gets. Warnings are errors: a warning that is not worth
# fixing is not worth having on.
add_library(weir_flags INTERFACE)
target_compile_options(weir_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
  -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough -Wswitch-enum -Werror
  -fno-strict-aliasing -fstack-protector-strong -D_GNU_SOURCE)
target_include_directories(weir_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
if(WEIR_SANITIZE)
  target_compile_options(weir_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(weir_flags INTERFACE -fsanitize=address,undefined)
  target_compile_definitions(weir_flags INTERFACE WEIR_SANITIZED=1)
endif()
if(WEIR_FUZZ)
  target_compile_options(weir_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(WEIR_ADMIT_ALL)
  target_compile_definitions(weir_flags INTERFACE WEIR_ADMIT_ALL=1)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(weir_flags INTERFACE -D_FORTIFY_SOURCE=2)
endif()
target_link_options(weir_flags INTERFACE -fuse-ld=lld)
