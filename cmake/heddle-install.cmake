# What `cmake --install` installs: the library, the command, every public header (the runtime's and the backends'),
# the systolic device descriptions, and the package that find_package(heddle CONFIG) reads.
include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/heddle)

install(TARGETS heddle EXPORT heddle-targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT heddle-targets NAMESPACE heddle:: DESTINATION ${package_folder})

file(GLOB header_folders CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/runtime/include/heddle ${PROJECT_SOURCE_DIR}/backends/*/include/heddle)
foreach(folder ${header_folders})
  install(DIRECTORY ${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
endforeach()
if(EXISTS ${PROJECT_SOURCE_DIR}/backends/systolic/devices)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/backends/systolic/devices DESTINATION ${CMAKE_INSTALL_DATADIR}/heddle
    FILES_MATCHING PATTERN "*.toml")
endif()

if(TARGET heddle_cli)
  # The command finds the library beside it wherever the tree is moved.
  file(RELATIVE_PATH to_library ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(heddle_cli PROPERTIES INSTALL_RPATH "$ORIGIN/${to_library}")
  install(TARGETS heddle_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/heddleConfig.cmake.in
  ${PROJECT_BINARY_DIR}/heddleConfig.cmake INSTALL_DESTINATION ${package_folder})
# Before 1.0 a minor version may change the C++ API; the device contract has a version of its own.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/heddleConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/heddleConfig.cmake ${PROJECT_BINARY_DIR}/heddleConfigVersion.cmake
  DESTINATION ${package_folder})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
# The examples are projects of their own, to be copied.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/examples DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/heddle
  PATTERN build EXCLUDE)
