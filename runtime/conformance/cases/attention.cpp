#include <cmath>

#include "conformance/cases/families.h"

namespace heddle::conformance {
namespace {

struct Heads {
  int64_t batch, heads, key_heads, queries, keys, size, value_size;
};

std::string text(const Heads& h) {
  std::string s = "b" + std::to_string(h.batch) + "h" + std::to_string(h.heads);
  if (h.key_heads != h.heads) s += "k" + std::to_string(h.key_heads);
  s += "s" + std::to_string(h.queries);
  if (h.keys != h.queries) s += "t" + std::to_string(h.keys);
  s += "d" + std::to_string(h.size);
  if (h.value_size != h.size) s += "v" + std::to_string(h.value_size);
  return s;
}

struct Variant {
  const char* layout = "bhsd";
  bool causal = false;
  double scale = 0;
  Operand mask = missing();
  std::string mask_name = "";
};

Shape arrange(const std::string& layout, int64_t batch, int64_t heads, int64_t positions, int64_t size) {
  return layout == "bshd" ? Shape{batch, positions, heads, size} : Shape{batch, heads, positions, size};
}

void add(CaseList& list, DType dtype, const Heads& h, const Variant& v) {
  const Shape q = arrange(v.layout, h.batch, h.heads, h.queries, h.size);
  const Shape k = arrange(v.layout, h.batch, h.key_heads, h.keys, h.size);
  const Shape values = arrange(v.layout, h.batch, h.key_heads, h.keys, h.value_size);
  const Shape out = arrange(v.layout, h.batch, h.heads, h.queries, h.value_size);
  const Attributes attributes = {{"causal", v.causal}, {"scale", v.scale}, {"layout", std::string(v.layout)}};
  std::string id =
      std::string(short_name(dtype)) + "/" + text(h) + "/" + v.layout + (v.causal ? "/causal" : "/full");
  if (v.scale != 0) id += "/scaled";
  if (!v.mask_name.empty()) id += "/" + v.mask_name;
  const Operand query{dtype, q}, key{dtype, k}, value{dtype, values}, gradient{dtype, out};
  list.add({.op = "attention", .operands = {query, key, value, v.mask}, .attributes = attributes}, {id});
  list.add({.op = "attention_grad",
            .operands = {query, key, value, v.mask, {}, {}, gradient},
            .attributes = attributes,
            .derived = {{4, "attention", attributes, {0, 1, 2, 3}, 0},
                        {5, "attention", attributes, {0, 1, 2, 3}, 1}}},
           {id});
}

// Hides about a third of the keys.
Fill allowed() { return fill::values({1, 0, 1, 1, 0, 1, 1}); }
Fill added() { return fill::sprinkled(fill::uniform(-2, 2), -INFINITY, 5); }

void add_masked(CaseList& list, DType dtype, const Heads& h, const char* layout) {
  const Shape full = {h.batch, h.heads, h.queries, h.keys}, one = {1, 1, h.queries, h.keys},
              keys = {h.batch, 1, 1, h.keys};
  add(list, dtype, h, {.layout = layout, .mask = {boolean, full, allowed()}, .mask_name = "mask-bool"});
  add(list, dtype, h, {.layout = layout, .mask = {boolean, keys, allowed()}, .mask_name = "mask-bool-keys"});
  add(list, dtype, h, {.layout = layout, .mask = {dtype, one, added()}, .mask_name = "mask-added"});
  add(list, dtype, h,
      {.layout = layout, .causal = true, .mask = {dtype, keys, added()}, .mask_name = "mask-added-keys"});
  // Queries that see no key at all give 0 and minus infinity.
  add(list, dtype, h,
      {.layout = layout, .mask = {boolean, full, fill::constant(0)}, .mask_name = "mask-nothing"});
}

}  // namespace

void add_attention_cases(CaseList& list) {
  const Heads shapes[] = {{1, 1, 1, 1, 1, 1, 1},       {1, 1, 1, 7, 7, 5, 5},
                          {2, 3, 3, 17, 17, 16, 16},   {1, 2, 2, 1, 129, 32, 32},
                          {1, 2, 2, 127, 127, 64, 64}, {1, 2, 2, 129, 130, 32, 32},
                          {2, 4, 2, 33, 33, 32, 32},   {1, 6, 1, 13, 29, 24, 40},
                          {0, 2, 2, 5, 5, 8, 8},       {1, 1, 1, 200, 131, 128, 128}};
  for (const DType dtype : compute_floats) {
    for (const char* layout : {"bhsd", "bshd"}) {
      for (const Heads& h : shapes) {
        add(list, dtype, h, {.layout = layout});
        // More queries than keys: the first ones see nothing.
        add(list, dtype, h, {.layout = layout, .causal = true});
      }
      add(list, dtype, shapes[6], {.layout = layout, .causal = true, .scale = 0.3});
      add_masked(list, dtype, {2, 4, 2, 13, 21, 16, 16}, layout);
    }
    add_masked(list, dtype, {1, 2, 2, 65, 130, 32, 32}, "bhsd");
  }
}

}  // namespace heddle::conformance
