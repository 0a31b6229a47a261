// The case list itself: complete, stable, well-formed.
#include <map>
#include <set>
#include <string>

#include "conformance/case.h"
#include "conformance/reference_run.h"
#include "heddle/conformance.h"
#include "kernels/catalogue.h"
#include "tests/catch.h"

using namespace heddle;

TEST_CASE("Every op of the catalogue has cases") {
  std::map<std::string, size_t> count;
  for (const conformance::Case& c : conformance::graph_cases()) ++count[c.op];
  for (const OpSchema* op : all_ops()) {
    INFO(op->name);
    CHECK(count[op->name] >= 6);
  }
}

TEST_CASE("Every case is a valid graph") {
  std::set<std::string> broken;
  for (const conformance::Case& c : conformance::graph_cases()) {
    try {
      const conformance::Problem problem = c.make();
      CHECK(problem.graph.node_count() >= 1);
      CHECK(problem.graph.inputs().size() == problem.inputs.size());
      if (c.op != "partition") CHECK(std::string(problem.graph.node(0).op->name) == c.op);
    } catch (const std::exception& e) {
      if (broken.insert(e.what()).second) FAIL_CHECK(c.id << ": " << e.what());
    }
  }
}
