// Checkpoints meet graphs: a name that does not fit is an error, never a variable left at random.
#include "heddle/checkpoint.h"
#include "heddle/ops.h"
#include "heddle/session.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"

namespace heddle::test {
namespace {

Graph model() {
  Graph g;
  const Value w = g.variable("w", f32, {2}, init::normal(1)), b = g.variable("b", f32, {2});
  g.output("y", w + b);
  return g;
}

}  // namespace

TEST_CASE("a checkpoint of the graph's variables is loaded whole") {
  const Graph g = model();
  const TemporaryFolder folder;
  save_checkpoint(folder / "model",
                  {{{"w", Tensor::full(2, f32, {2})}, {"b", Tensor::full(3, f32, {2})}}, {}});
  Variables variables;
  load_variables(variables, g, load_checkpoint(folder / "model").tensors);
  CHECK(Session(g, {Device::open("reference")}, variables).run({}).at("y").at(1) == 5);
}

TEST_CASE("names and types that do not fit are listed together, and nothing is written") {
  const Graph g = model();
  Variables variables;
  const auto refused = [&](ErrorCode code, const std::map<std::string, Tensor>& tensors) {
    return expect_error(code, "not the variables of the graph",
                        [&] { load_variables(variables, g, tensors); });
  };
  const Tensor two(f32, {2}), three(f32, {3}), wide(f64, {2});
  const std::string text = refused(ErrorCode::not_found, {{"ww", two}, {"b", three}});
  CHECK_THAT(text, ContainsSubstring("missing: 'w'; unexpected: 'ww'"));
  CHECK_THAT(text, ContainsSubstring("'b' is float32[3] instead of float32[2]"));
  refused(ErrorCode::not_found, {{"w", two}});
  refused(ErrorCode::not_found, {{"w", two}, {"b", two}, {"c", two}});
  refused(ErrorCode::shape_mismatch, {{"w", two}, {"b", three}});
  refused(ErrorCode::dtype_mismatch, {{"w", wide}, {"b", two}});
  CHECK(variables.names().empty());
}

}  // namespace heddle::test
