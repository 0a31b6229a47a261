// The kit itself: it passes a correct device, and notices each fault of a wrong one.
#include <nlohmann/json.hpp>
#include <string>

#include "heddle/conformance.h"
#include "tests/catch.h"
#include "tests/conformance/faulty_device.h"
#include "tests/expect_error.h"

using namespace heddle;
using conformance::Outcome;
using conformance::Report;
using test::ContainsSubstring;
using test::open_faulty;

namespace {

Report run_faulty(const std::string& fault, const std::string& op = "matmul", const std::string& id = "") {
  conformance::Selection selection;
  selection.op = op;
  selection.id = id;
  return conformance::run(open_faulty(fault), selection);
}

// The first failure's reason.
std::string failure(const Report& report) {
  for (const conformance::Result& r : report.results)
    if (r.outcome == Outcome::failed) return r.reason;
  return "nothing failed";
}

}  // namespace

TEST_CASE("A correct device passes what it offers; what it refuses is listed and not counted as passed") {
  const Report report = run_faulty("none");
  CHECK(failure(report) == "nothing failed");
  CHECK(report.ok());
  CHECK(report.count(Outcome::passed) >= 20);
  CHECK(report.count(Outcome::unsupported) >= 100);
  CHECK(report.count(Outcome::passed) + report.count(Outcome::unsupported) == report.results.size());
  const std::vector<conformance::OpSummary> ops = report.ops();
  REQUIRE(ops.size() == 1);
  CHECK(ops[0].error > 0);
  CHECK(ops[0].error < 1);
  size_t refused = 0;
  for (const auto& refusal : ops[0].refusals) refused += refusal.cases;
  CHECK(refused == report.count(Outcome::unsupported));
  CHECK(ops[0].refusals.size() == 3);
  CHECK_THAT(report.text(), ContainsSubstring("needs float32"));
}

TEST_CASE("One wrong element among thousands is a failure, named with its bound") {
  const Report report = run_faulty("one_element", "matmul", "matmul/f32/m127k128n129");
  CHECK(!report.ok());
  CHECK_THAT(failure(report), ContainsSubstring("1 of 16383 elements are wrong"));
  CHECK_THAT(failure(report), ContainsSubstring("y0[126,112] is "));
  CHECK_THAT(failure(report), ContainsSubstring("times the bound"));
  CHECK(report.results[0].error > 1);
}

TEST_CASE("Sums kept in sixteen bits are outside the bound") {
  CHECK_THAT(failure(run_faulty("rounds_the_sum", "matmul", "matmul/f32/m64k64n64")),
             ContainsSubstring("elements are wrong"));
}

TEST_CASE("A broken promise is a failure") {
  for (const auto& [fault, text] : {std::pair("does_not_compile", "offered, but "),
                                    {"does_not_compile", "no kernel after all"},
                                    {"does_not_run", "the kernel gave up"},
                                    {"refuses_without_reason", "refused without a reason"}}) {
    const Report report = run_faulty(fault);
    CHECK(!report.ok());
    CHECK(report.count(Outcome::passed) == 0);
    CHECK_THAT(failure(report), ContainsSubstring(std::string(text)));
  }
}

TEST_CASE("Memory that is not the kernel's to write is watched") {
  CHECK_THAT(failure(run_faulty("writes_beyond")), ContainsSubstring("wrote outside result y0"));
  CHECK_THAT(failure(run_faulty("writes_before")), ContainsSubstring("wrote outside result y0"));
  CHECK_THAT(failure(run_faulty("changes_operand")), ContainsSubstring("changed operand x0"));
}

TEST_CASE("Elements that are never written, and results that depend on earlier launches, are failures") {
  const char* const id = "matmul/f32/m64k64n64";
  CHECK_THAT(failure(run_faulty("leaves_one_unwritten", "matmul", id)),
             ContainsSubstring("y0[63,63] is nan"));
  CHECK_THAT(failure(run_faulty("remembers", "matmul", id)),
             ContainsSubstring("differs between two launches"));
}

TEST_CASE("A run in which no case is executed fails") {
  const Report report = run_faulty("offers_nothing");
  CHECK(report.count(Outcome::failed) == 0);
  CHECK(!report.ok());
  CHECK_THAT(report.text(), ContainsSubstring("not one case of an op ran"));
  // Also when the cases of the contract, which need no op, pass.
  const Report all = conformance::run(open_faulty("offers_nothing"));
  CHECK(all.count(Outcome::passed) > 5);
  CHECK(all.count(Outcome::failed) == 0);
  CHECK(!all.ok());
}

TEST_CASE("A failure prints the command that repeats it alone") {
  const Report report = run_faulty("one_element");
  const conformance::Result* failed = nullptr;
  for (const conformance::Result& r : report.results)
    if (r.outcome == Outcome::failed) failed = &r;
  REQUIRE(failed != nullptr);
  CHECK(report.repro(*failed) ==
        "heddle conform --device faulty:fault=one_element --op matmul --case " + failed->id);
  CHECK_THAT(report.text(), ContainsSubstring(report.repro(*failed)));
  CHECK(run_faulty("one_element", "matmul", failed->id).results.size() == 1);
  CHECK_THAT(failure(run_faulty("one_element", "matmul", failed->id)), ContainsSubstring(failed->reason));
}

TEST_CASE("Results are data") {
  const Report report = run_faulty("one_element");
  const auto j = nlohmann::json::parse(report.json());
  CHECK(j["device"] == "faulty:fault=one_element");
  CHECK(j["passed"] == report.count(Outcome::passed));
  CHECK(j["failed"] == report.count(Outcome::failed));
  CHECK(j["unsupported"] == report.count(Outcome::unsupported));
  CHECK(j["ok"] == false);
  CHECK(j["cases"].size() == report.results.size());
  CHECK(j["ops"][0]["op"] == "matmul");
  CHECK(j["ops"][0]["error_over_bound"].is_null());  // an exact case failed: infinity
  const auto one =
      nlohmann::json::parse(run_faulty("one_element", "matmul", "matmul/f32/m127k128n129").json());
  CHECK(one["cases"][0]["error_over_bound"].get<double>() > 1);
  CHECK(one["cases"][0]["kernel"] == "faulty.matmul");
}

TEST_CASE("Selections that match nothing say what there is") {
  conformance::Selection selection;
  selection.op = "matmull";
  test::expect_error(ErrorCode::not_found, "matmul, ", [&] { conformance::list_cases(selection); });
  selection.op = "";
  selection.id = "matmul/f32/m127k128n130";
  test::expect_error(ErrorCode::not_found, "matmul/f32/m127k128n129",
                     [&] { conformance::list_cases(selection); });
  test::expect_error(ErrorCode::invalid_argument, "not open", [] { conformance::run(Device()); });
}

TEST_CASE("The cases are the same at every call, and progress counts them") {
  const auto first = conformance::list_cases(), second = conformance::list_cases();
  REQUIRE(first.size() == second.size());
  for (size_t i = 0; i < first.size(); ++i) CHECK(first[i].id == second[i].id);
  conformance::Selection selection;
  selection.op = "matmul";
  size_t calls = 0;
  selection.progress = [&](const conformance::Result&, size_t done, size_t total) {
    CHECK(done == ++calls);
    CHECK(total == conformance::list_cases(selection).size());
  };
  conformance::run(open_faulty("none"), selection);
  CHECK(calls > 100);
}
