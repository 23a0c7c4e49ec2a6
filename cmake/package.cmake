# The C++ library as others use it: find_package(weir), target weir::weir. One archive holds everything that it needs, and
# its headers include nothing of src/.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

add_library(weir_cpp STATIC)
foreach(room library session sys wire net base)
  target_sources(weir_cpp PRIVATE $<TARGET_OBJECTS:weir_${room}>)
endforeach()
set_target_properties(weir_cpp PROPERTIES LINKER_LANGUAGE CXX OUTPUT_NAME weir EXPORT_NAME weir
  ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
target_compile_features(weir_cpp INTERFACE cxx_std_23)
target_include_directories(weir_cpp INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
add_library(weir::weir ALIAS weir_cpp)

# A build that is for tests only is not for others to link.
if(WEIR_ADMIT_ALL OR WEIR_SANITIZE OR WEIR_FUZZ)
  return()
endif()
set(weir_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/weir)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/weirConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(TARGETS weir_cpp EXPORT weirTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
install(EXPORT weirTargets FILE weirConfig.cmake NAMESPACE weir:: DESTINATION ${weir_package_dir} COMPONENT library)
install(FILES ${PROJECT_BINARY_DIR}/weirConfigVersion.cmake DESTINATION ${weir_package_dir} COMPONENT library)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/weir DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)
