// Builds the parts of a transformer into a graph: one call makes one part.
#pragma once

#include <string>

#include "heddle/models/transformer.h"

namespace heddle {

// Throws invalid_argument for settings that do not fit together.
void check_transformer(const TransformerConfig& config);

class TransformerBuilder {
 public:
  // `graph` is a handle: what is built lands in the caller's graph.
  TransformerBuilder(Graph graph, const TransformerConfig& config, int64_t batch, int64_t positions);

  // tokens, segments [batch, positions] -> [batch * positions, width]
  Value embed(Value tokens, Value segments);
  Value layer(Value x, const std::string& name);
  // [batch * positions, width] -> logits [batch * positions, vocabulary]
  Value head(Value x);
  // float32 of rank 0
  Value loss(Value logits, Value targets);

  // The input that a part takes instead of the result of the part before it.
  Value boundary(const std::string& name);
  Value token_input(const std::string& name);
  // The variable of the token embedding, in the dtype of the parameters.
  Value embedding_table();

 private:
  Value table(const std::string& name, int64_t rows);
  Value looked_up(const std::string& name, int64_t rows, Value indices);
  Value self_attention(Value x, const std::string& name);
  Value feed_forward(Value x, const std::string& name);
  Value norm(Value x, const std::string& name);
  Value product(Value x, const std::string& name, int64_t inputs, int64_t outputs);
  Value parameter(const std::string& name, const Shape& shape, const Initializer& initializer);
  void make_rope_tables();

  Graph graph_;
  TransformerConfig config_;
  int64_t batch_, positions_;
  Value cos_, sin_;
};

}  // namespace heddle
