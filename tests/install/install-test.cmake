# Installs the build into a scratch prefix, moves it, and builds and runs other projects with what is there: a consumer,
# the examples, and the toy backend.
#   cmake -D BUILD=<build folder> -D SOURCE=<Heddle's source> -D WORK=<scratch> -D FLAGS=<compiler flags> -P install-test.cmake
cmake_minimum_required(VERSION 3.25)
file(REMOVE_RECURSE ${WORK})

# run(command...): fails with its output unless it succeeds; the output is left in `text`.
function(run)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE text ERROR_VARIABLE text RESULT_VARIABLE code)
  if(NOT code EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}\n${text}")
  endif()
  set(text "${text}" PARENT_SCOPE)
endfunction()
# expect(PATTERN): the last run's output matches.
function(expect pattern)
  if(NOT text MATCHES "${pattern}")
    message(FATAL_ERROR "expected '${pattern}' in:\n${text}")
  endif()
endfunction()
# build(SOURCE NAME option...): a project outside Heddle's tree, in ${WORK}/NAME.
function(build source name)
  run(${CMAKE_COMMAND} -G Ninja -S ${source} -B ${WORK}/${name} -D CMAKE_BUILD_TYPE=None
    -D CMAKE_PREFIX_PATH=${WORK}/moved "-DCMAKE_CXX_FLAGS=${FLAGS} -Wall -Wextra -Wpedantic -Wshadow -Werror"
    "-DCMAKE_EXE_LINKER_FLAGS=${FLAGS}" "-DCMAKE_MODULE_LINKER_FLAGS=${FLAGS}" ${ARGN})
  run(${CMAKE_COMMAND} --build ${WORK}/${name})
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/first)
file(RENAME ${WORK}/first ${WORK}/moved)
set(heddle ${WORK}/moved/bin/heddle)
run(${heddle} --help)

# The examples, as installed and as their first lines say to build and run them.
build(${WORK}/moved/share/doc/heddle/examples examples)
run(${WORK}/examples/hello)
expect("cpu +float32.2,3. {.*trn1 +float32.2,3. {")
run(${WORK}/examples/train_mlp)
expect("unseen points on the right spiral")
run(${WORK}/examples/systolic_matmul)
expect("simulated.*tiled .*equal.*hoisted .*equal.*blocked .*equal.*fully .*equal")
run(${WORK}/examples/systolic_softmax trn2 200 512)
expect("simulated time.*never run on Trainium.*bottleneck")

# The toy backend: by file and by HEDDLE_PLUGIN_PATH, as a file and as a folder.
build(${WORK}/moved/share/doc/heddle/examples/backend_toy toy)
set(plugin ${WORK}/toy/libtoy.so)
run(${heddle} conform --plugin ${plugin})
expect("toy conforms in what it offers")
foreach(path ${plugin} ${WORK}/toy ${WORK}/no/such/file.so:${plugin})
  run(${CMAKE_COMMAND} -E env HEDDLE_PLUGIN_PATH=${path} ${heddle} devices)
  expect("toy +toy 0.1 +wall")
endforeach()
run(${WORK}/examples/fallback ${plugin} toy)
expect("has no kernel for this op")
expect("copies between devices in one run: 2")

build(${CMAKE_CURRENT_LIST_DIR}/consumer consumer -D TOY=${plugin})
run(${CMAKE_CTEST_COMMAND} --test-dir ${WORK}/consumer --no-tests=error --output-on-failure)
file(REMOVE_RECURSE ${WORK})
