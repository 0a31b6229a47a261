#include "heddle/attributes.h"

#include "heddle/error.h"
#include "ir/scalar_program.h"
#include "tests/expect_error.h"

using namespace heddle;
using namespace heddle::test;

TEST_CASE("attributes are found by name and kind") {
  Attributes a = {{"axis", int64_t{2}}, {"rate", 0.5}};
  CHECK(a.get<int64_t>("axis") == 2);
  CHECK(a.get_or<double>("rate", 1) == 0.5);
  CHECK(a.get_or<double>("scale", 1) == 1);
  CHECK(a.find("scale") == nullptr);
  expect_error(ErrorCode::not_found, "'scale'", [&] { a.get<double>("scale"); });
  expect_error(ErrorCode::invalid_argument, "'axis' is a int (2)", [&] { a.get<double>("axis"); });
  a.set("axis", int64_t{3});
  CHECK(a.entries().size() == 2);
  CHECK(a.get<int64_t>("axis") == 3);
  a.erase("axis");
  CHECK(a.find("axis") == nullptr);
}

TEST_CASE("attributes are equal by name and value, programs by what they compute") {
  const auto program = [](double factor) {
    ScalarProgram p;
    const uint32_t x = p.input(f32);
    p.outputs = {p.add(ScalarOp::mul, x, p.constant(factor, f32))};
    return std::make_shared<const ScalarProgram>(p);
  };
  const Attributes a = {{"axis", int64_t{2}}, {"body", program(2)}};
  CHECK(a == Attributes{{"body", program(2)}, {"axis", int64_t{2}}});
  CHECK_FALSE(a == Attributes{{"axis", int64_t{2}}, {"body", program(3)}});
  CHECK_FALSE(a == Attributes{{"axis", 2.0}, {"body", program(2)}});
  CHECK_FALSE(a == Attributes{{"axis", int64_t{2}}});
  CHECK_FALSE(Attributes{{"body", ScalarProgramPtr()}} == Attributes{{"body", program(2)}});
}

TEST_CASE("attribute values as text, with the name of their kind") {
  const auto check = [](const AttributeValue& v, const char* kind, const char* text) {
    CHECK(std::string(attribute_kind_name(v)) == kind);
    CHECK(to_string(v) == text);
  };
  check(true, "bool", "true");
  check(int64_t{-3}, "int", "-3");
  check(0.1, "float", "0.1");
  check(std::string("max"), "string", "\"max\"");
  check(bf16, "dtype", "bfloat16");
  check(std::vector<int64_t>{1, 2}, "ints", "[1,2]");
  check(std::vector<double>{}, "floats", "[]");
  check(Dims{"batch", 3}, "dims", "[batch,3]");
  check(ScalarProgramPtr(), "program", "(none)");
}
