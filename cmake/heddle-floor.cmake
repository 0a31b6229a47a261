# Build settings for every target, and heddle_floor(): one object library per floor of the building.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
include(GNUInstallDirs)

add_library(heddle_flags INTERFACE)
target_compile_options(heddle_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow $<$<BOOL:${HEDDLE_WERROR}>:-Werror>)
# GCC 12 sees overlapping copies in "text" + std::string (GCC bug 105651); 13 does not.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(heddle_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()
# Floats mean what the source says: no contraction of a*b+c into fma behind the author's back.
target_compile_options(heddle_flags INTERFACE -ffp-contract=off)
if(HEDDLE_SANITIZE)
  # The checks that sanitizers insert make GCC see uninitialized reads in library templates that have none.
  # Three checks double the compile time and find what AddressSanitizer finds too, or casts that we do not have.
  target_compile_options(heddle_flags INTERFACE -fsanitize=${HEDDLE_SANITIZE} -fno-sanitize-recover=all
    -fno-sanitize=null,object-size,vptr -fno-omit-frame-pointer -g1 -Wno-maybe-uninitialized)
  target_link_options(heddle_flags INTERFACE -fsanitize=${HEDDLE_SANITIZE})
endif()

# heddle_floor(NAME FOLDER DEPENDS floor...): every .cpp directly in FOLDER (or its sub-folders) becomes the object
# library heddle_NAME, part of libheddle. cmake/check-floors.cmake refuses an #include that points upward.
function(heddle_floor name folder)
  cmake_parse_arguments(arg "" "" "DEPENDS;LIBRARIES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  if(NOT sources)  # an object library needs a source, and an empty floor should not stop the build
    set(sources ${CMAKE_CURRENT_BINARY_DIR}/${name}_is_empty.cpp)
    file(CONFIGURE OUTPUT ${sources} CONTENT "// No sources in this floor yet.\n" @ONLY)
  endif()
  add_library(heddle_${name} OBJECT ${sources})
  target_include_directories(heddle_${name} PUBLIC
    ${PROJECT_SOURCE_DIR}/runtime/include ${PROJECT_SOURCE_DIR}/runtime ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/backends)
  target_link_libraries(heddle_${name} PUBLIC heddle_flags)
  foreach(floor ${arg_DEPENDS})
    target_link_libraries(heddle_${name} PUBLIC heddle_${floor})
  endforeach()
  target_link_libraries(heddle_${name} PRIVATE ${arg_LIBRARIES})
  set_property(GLOBAL APPEND PROPERTY HEDDLE_FLOORS heddle_${name})
endfunction()
