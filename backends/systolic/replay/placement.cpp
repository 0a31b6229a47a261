#include "systolic/replay/placement.h"

#include "systolic/replay/engine_rule.h"

namespace heddle::systolic::replay {
namespace {

// How often statements name a family.
int mentions(const Nest& nest, int family) {
  int n = 0;
  for (const Statement& s : nest.statements)
    for (const auto* list : {&s.out, &s.in})
      for (const Operand& o : *list) n += o.object == family;
  return n;
}

bool in_sbuf(const Nest& nest, const Operand& o) {
  return nest.tiles[static_cast<size_t>(o.object)].memory == Memory::sbuf;
}

void visit(Nest& nest, const std::vector<Node>& body, int64_t bank_bytes) {
  for (size_t i = 0; i < body.size(); ++i) {
    if (body[i].loop >= 0) visit(nest, body[i].body, bank_bytes);
    if (i + 1 == body.size() || body[i].statement < 0 || body[i + 1].statement < 0) continue;
    const Statement& maker = nest.statements[static_cast<size_t>(body[i].statement)];
    const Statement& reader = nest.statements[static_cast<size_t>(body[i + 1].statement)];
    if (engine_for(nest, maker) != Engine::act || maker.verb == Verb::activation_reduce) continue;
    if (reader.verb != Verb::tensor_tensor && reader.verb != Verb::scalar_tensor_tensor) continue;
    TileFamily& made = nest.tiles[static_cast<size_t>(maker.out[0].object)];
    const bool reads_it =
        reader.in[0].object == maker.out[0].object || reader.in[1].object == maker.out[0].object;
    if (reads_it && made.memory == Memory::sbuf && made.bytes() <= bank_bytes &&
        in_sbuf(nest, reader.in[0]) && in_sbuf(nest, reader.in[1]) &&
        mentions(nest, maker.out[0].object) == 2)
      made.memory = Memory::psum;
  }
}

}  // namespace

void place_in_psum(Nest& nest, int64_t bank_bytes) {
  const std::vector<Node> body = nest.body;
  visit(nest, body, bank_bytes);
}

}  // namespace heddle::systolic::replay
