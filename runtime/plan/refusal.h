// What devices refused, as people read it in errors.
#pragma once

#include <string>
#include <vector>

#include "heddle/explain.h"
#include "heddle/schema.h"
#include "plan/encode.h"

namespace heddle::plan {

// A node that found no device, and what each device that was asked said.
struct Refusal {
  std::string op, name;
  std::string types;
  std::vector<Explanation::Declined> declined;
};

// Adds an answer unless it is there already: a composite is asked for whole and in parts, on each device and
// spread over all.
void add_answer(std::vector<Explanation::Declined>& declined, Explanation::Declined answer);

// "float32[8] <- float32[8], float32[]": results and operands, the first four of each.
std::string types_text(const NodeType& node);

// Nodes of one op with the same answers are one entry: how many, the first names, the types of the first, the
// answers; answers about a part stand indented under those about the whole. Every line begins with a new
// line.
std::string refusals_text(const std::vector<Refusal>& refusals);

}  // namespace heddle::plan
