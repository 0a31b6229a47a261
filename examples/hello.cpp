// One graph, two devices: a matmul and a softmax on the CPU and on a simulated Trainium NeuronCore.
#include <cstdio>

#include "heddle/heddle.h"

int main() try {
  heddle::Graph graph;
  const heddle::Value x = graph.input("x", heddle::f32, {"batch", 4});  // any number of rows
  const heddle::Value w = graph.variable("w", heddle::f32, {4, 3}, heddle::init::normal(0.5));
  graph.output("p", heddle::softmax(heddle::matmul(x, w)));

  const heddle::Tensor rows = heddle::Tensor::of<float>({1, 2, 3, 4, 4, 3, 2, 1}, {2, 4});
  for (const char* name : {"cpu", "trn1"}) {
    heddle::Session session(graph, {heddle::Device::open(name)});
    const heddle::Tensor p = session.run({{"x", rows}}).at("p");
    std::printf("%-5s %s\n", name, heddle::to_string(p).c_str());
  }
  return 0;
} catch (const heddle::Error& e) {
  std::fprintf(stderr, "hello: %s\n", e.what());
  return 1;
}
