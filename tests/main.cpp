// main() of every test executable.
#define HEDDLE_TEST_MAIN
#include "tests/catch.h"

// AddressSanitizer asks for this. Impossible allocations must come back as errors, as they do without it.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
