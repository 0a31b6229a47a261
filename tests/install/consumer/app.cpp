#include <cstdio>

#include "heddle/tensor.h"

int main() {
  const heddle::Tensor t = heddle::Tensor::of<float>({1, 2, 3}, {3}).to(heddle::bf16);
  std::puts(heddle::to_string(t).c_str());
  return t.at(2) == 3 ? 0 : 1;
}
