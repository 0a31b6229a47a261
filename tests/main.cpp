// main() of every test executable.
#define HEDDLE_TEST_MAIN
#include "tests/catch.h"

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
