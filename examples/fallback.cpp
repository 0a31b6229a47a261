// A graph that one device cannot run alone: what is refused, what falls back, and what is copied.
//   fallback PLUGIN.so DEVICE       for example: fallback libtoy.so toy
#include <cstdio>

#include "heddle/heddle.h"

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::fprintf(stderr, "usage: fallback PLUGIN.so DEVICE\n");
    return 2;
  }
  heddle::load_plugin(argv[1]);
  const heddle::Device device = heddle::Device::open(argv[2]), cpu = heddle::Device::open("cpu");

  heddle::Graph graph;
  const heddle::Value x = graph.input("x", heddle::f32, {8, 16});
  const heddle::Value w1 = graph.input("w1", heddle::f32, {16, 32}),
                      w2 = graph.input("w2", heddle::f32, {32, 4});
  const heddle::Value hidden = heddle::relu(heddle::matmul(x, w1));
  graph.output("y", heddle::matmul(heddle::softmax(hidden), w2));

  // By default nothing falls back: the error lists every refused node with the device's reason.
  try {
    heddle::Session(graph, {device}).explain();
    std::puts("the device runs the whole graph");
  } catch (const heddle::Error& e) {
    std::printf("%s\n\n", e.what());
  }

  // With fallback, refused nodes run on the next device that offers them, and copies are steps of the plan.
  heddle::Session session(graph, {device, cpu}, heddle::Variables(), {.fallback = heddle::Fallback::allow});
  std::printf("%s\n", session.explain().table().c_str());
  session.run({{"x", heddle::Tensor::full(0.5, heddle::f32, {8, 16})},
               {"w1", heddle::Tensor::full(0.25, heddle::f32, {16, 32})},
               {"w2", heddle::Tensor::full(1, heddle::f32, {32, 4})}});
  std::printf("copies between devices in one run: %d\n", static_cast<int>(session.last_run().copies));
  return 0;
} catch (const heddle::Error& e) {
  std::fprintf(stderr, "fallback: %s\n", e.what());
  return 1;
}
