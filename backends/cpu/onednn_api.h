// What differs between versions 2 and 3 of oneDNN's API.
#pragma once

#include <oneapi/dnnl/dnnl.hpp>

namespace heddle::cpu::onednn {

inline dnnl::matmul::primitive_desc describe_matmul(const dnnl::engine& engine, const dnnl::memory::desc& a,
                                                    const dnnl::memory::desc& b, const dnnl::memory::desc& y,
                                                    const dnnl::primitive_attr& attributes) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine, a, b, y, attributes};
#else
  return {dnnl::matmul::desc(a, b, y), attributes, engine};
#endif
}

}  // namespace heddle::cpu::onednn
