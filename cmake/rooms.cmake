# weir_room(NAME [DEPS...]): a static library weir_NAME from every *.cc below src/NAME.
# Which room may use which is enforced by tests/unit/rooms_test.py, not by link order.
function(weir_room name)
  string(REPLACE "/" "_" target "weir_${name}")
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cc)
  list(FILTER sources EXCLUDE REGEX "/main\\.cc$")
  if(NOT sources)
    add_library(${target} INTERFACE)
    target_link_libraries(${target} INTERFACE weir_flags ${ARGN})
    return()
  endif()
  add_library(${target} STATIC ${sources})
  target_link_libraries(${target} PUBLIC weir_flags ${ARGN})
endfunction()
