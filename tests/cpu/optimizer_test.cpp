// Optimizer steps, global norm and clipping over lists of tensors, against plain loops in double.
#include "cpu/kernels/optimizer.h"

#include "tests/cpu/kernel_check.h"

using namespace heddle;
using namespace heddle::cpu;
using namespace heddle::test;

namespace {

using Doubles = std::vector<double>;
constexpr DType float_dtypes[] = {DType::float32, DType::bfloat16, DType::float16, DType::float64};

DType wide(DType dtype) { return dtype == DType::float64 ? DType::float64 : DType::float32; }

// Parameters of mixed dtypes and sizes, some empty.
struct Model {
  std::vector<Tensor> p, g, m, v, p_out, m_out, v_out;
  std::vector<ParameterTensor> list;

  explicit Model(std::mt19937_64& random, bool in_place) {
    const int64_t sizes[] = {1, 0, 17, 1023, 1024, 1025, 9000, 64};
    for (const int64_t n : sizes) {
      const DType dtype = float_dtypes[draw(random, 0, 3)], gradient = float_dtypes[draw(random, 0, 3)];
      p.push_back(random_tensor(random, dtype, {n}, 2));
      g.push_back(random_tensor(random, gradient, {n}));
      m.push_back(random_tensor(random, wide(dtype), {n}));
      v.push_back(random_tensor(random, wide(dtype), {n}));
      for (int64_t i = 0; i < n; ++i) v.back().set(i, std::abs(v.back().at(i)));
    }
    for (size_t i = 0; i < p.size(); ++i) {
      p_out.push_back(in_place ? p[i].clone() : Tensor(p[i].dtype(), p[i].shape()));
      m_out.push_back(in_place ? m[i].clone() : Tensor(m[i].dtype(), m[i].shape()));
      v_out.push_back(in_place ? v[i].clone() : Tensor(v[i].dtype(), v[i].shape()));
      const Tensor &from_p = in_place ? p_out[i] : p[i], &from_m = in_place ? m_out[i] : m[i],
                   &from_v = in_place ? v_out[i] : v[i];
      list.push_back({p[i].dtype(), g[i].dtype(), p[i].elements(), from_p.data(), g[i].data(), from_m.data(),
                      from_v.data(), p_out[i].data(), m_out[i].data(), v_out[i].data()});
    }
  }
};

}  // namespace

TEST_CASE("adam and adamw steps over many tensors", "[cpu][optimizer]") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  each_instruction_set([&](const std::string& target) {
    CAPTURE(target);
    for (const bool decoupled : {false, true})
      for (const double decay : {0.0, 0.1})
        for (const bool in_place : {false, true}) {
          const float lr = 0.01f, step = static_cast<float>(draw(random, 1, 3));
          const AdamRule rule{0.9, 0.99, 1e-6, decay, decoupled};
          const uint64_t model_seed = random();
          std::mt19937_64 first(model_seed), second(model_seed);
          Model model(first, in_place), again(second, in_place);
          const int threads = static_cast<int>(draw(random, 1, 4));
          adam(rule, {threads}, {f32, &lr}, {f32, &step}, model.list);
          adam(rule, {1}, {f32, &lr}, {f32, &step}, again.list);
          for (size_t t = 0; t < model.p.size(); ++t) {
            INFO("tensor " << t << ", p " << dtype_name(model.p[t].dtype()) << ", g "
                           << dtype_name(model.g[t].dtype()) << ", decay " << decay
                           << (decoupled ? " decoupled" : "") << ", threads " << threads);
            Doubles p = to_doubles(model.p[t]), g = to_doubles(model.g[t]);
            Doubles m = to_doubles(model.m[t]), v = to_doubles(model.v[t]);
            Doubles p_bound(p.size()), m_bound(p.size()), v_bound(p.size());
            const double u = unit_roundoff(wide(model.p[t].dtype()));
            const double correction1 = 1 - std::pow(0.9, static_cast<double>(step)),
                         correction2 = 1 - std::pow(0.99, static_cast<double>(step));
            for (size_t i = 0; i < p.size(); ++i) {
              const double old = p[i], rate = static_cast<double>(lr);
              if (decay != 0 && !decoupled) g[i] += decay * old;
              const double g_size = std::abs(g[i]) + (decoupled ? 0 : std::abs(decay * old));
              if (decay != 0 && decoupled) p[i] -= rate * decay * old;
              m_bound[i] = 4 * u * (0.9 * std::abs(m[i]) + 0.1 * g_size);
              v_bound[i] = 6 * u * (0.99 * v[i] + 0.01 * g_size * g_size);
              m[i] = 0.9 * m[i] + (1 - 0.9) * g[i];
              v[i] = 0.99 * v[i] + (1 - 0.99) * g[i] * g[i];
              const double bottom = std::sqrt(v[i] / correction2) + 1e-6;
              const double move = rate * (m[i] / correction1) / bottom;
              p[i] -= move;
              const double v_relative = v[i] == 0 ? 0 : v_bound[i] / v[i];
              p_bound[i] = 3 * u * std::abs(old) + std::abs(move) * (8 * u + v_relative) +
                           rate / correction1 * m_bound[i] / bottom;
            }
            check_close("p", model.p_out[t], p, p_bound);
            check_close("m", model.m_out[t], m, m_bound);
            check_close("v", model.v_out[t], v, v_bound);
            CHECK(same_bits(model.p_out[t], again.p_out[t]));
          }
        }
  });
}

TEST_CASE("sgd with and without momentum", "[cpu][optimizer]") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  each_instruction_set([&](const std::string& target) {
    CAPTURE(target);
    for (const SgdRule rule :
         {SgdRule{0, 0, false}, SgdRule{0.9, 0, false}, SgdRule{0.9, 0.1, true}, SgdRule{0, 0.1, false}})
      for (const bool in_place : {false, true}) {
        const double lr = 0.3;
        Model model(random, in_place);
        sgd(rule, {3}, {f64, &lr}, model.list);
        for (size_t t = 0; t < model.p.size(); ++t) {
          INFO("tensor " << t << " momentum " << rule.momentum);
          Doubles p = to_doubles(model.p[t]), g = to_doubles(model.g[t]), m = to_doubles(model.m[t]);
          Doubles p_bound(p.size()), m_bound(p.size());
          const double u = unit_roundoff(wide(model.p[t].dtype()));
          for (size_t i = 0; i < p.size(); ++i) {
            double size = std::abs(g[i]) + std::abs(rule.weight_decay * p[i]);
            double move = g[i] + rule.weight_decay * p[i];
            if (rule.momentum != 0) {
              size += std::abs(rule.momentum * m[i]);
              m[i] = rule.momentum * m[i] + move;
              m_bound[i] = 4 * u * size;
              if (rule.nesterov) size += rule.momentum * size;
              move = rule.nesterov ? move + rule.momentum * m[i] : m[i];
            }
            p_bound[i] = 2 * u * std::abs(p[i]) + 8 * u * lr * size;
            p[i] -= lr * move;
          }
          check_close("p", model.p_out[t], p, p_bound);
          if (rule.momentum != 0) check_close("m", model.m_out[t], m, m_bound);
        }
      }
  });
}

TEST_CASE("global norm and clipping, at any thread count", "[cpu][optimizer]") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  each_instruction_set([&](const std::string& target) {
    CAPTURE(target);
    for (const double max_norm : {0.5, 1e9})
      for (const double range : {1.0, 200.0}) {
        std::vector<Tensor> x, y, again;
        for (const int64_t n : {1, 0, 33, 1000, 70001, 5})
          x.push_back(random_tensor(random, float_dtypes[draw(random, 0, 3)], {n}, range));
        std::vector<NormTensor> list, other;
        long double squares = 0;
        double count = 0;
        for (const Tensor& t : x) {
          y.emplace_back(t.dtype(), t.shape());
          again.push_back(t.clone());
          list.push_back({t.dtype(), t.elements(), t.data(), y.back().data()});
          other.push_back({t.dtype(), t.elements(), again.back().data(), again.back().data()});
          for (const double v : to_doubles(t)) squares += static_cast<long double>(v) * v;
          count += static_cast<double>(t.elements());
        }
        const auto expected = static_cast<double>(std::sqrt(squares));
        Tensor norm(f64, {}), norm32(f32, {});
        clip_by_global_norm(max_norm, {3}, list, f64, norm.data());
        CHECK(norm.at(0) == Approx(expected).epsilon(1e-13));
        clip_by_global_norm(max_norm, {1}, other, f32, norm32.data());
        CHECK(norm32.at(0) == static_cast<double>(static_cast<float>(norm.at(0))));
        Tensor alone(f64, {});
        global_norm({2}, list, f64, alone.data());
        CHECK(same_bits(alone, norm));
        const double factor = std::min(1.0, max_norm / (expected + 1e-6));
        for (size_t t = 0; t < x.size(); ++t) {
          Doubles ref = to_doubles(x[t]), bound(ref.size());
          for (size_t i = 0; i < ref.size(); ++i) {
            ref[i] *= factor;
            // The factor, rounded, and the sum of squares in double behind it.
            bound[i] = std::abs(ref[i]) *
                       (3 * unit_roundoff(wide(x[t].dtype())) + unit_roundoff(f64) * std::sqrt(count));
          }
          check_close("clipped", y[t], ref, bound);
          CHECK(same_bits(y[t], again[t]));
        }
      }
  });
}

TEST_CASE("the norm of large float32 gradients does not overflow, that of NaN is NaN", "[cpu][optimizer]") {
  Tensor x = Tensor::full(1e30, f32, {100}), y(f32, {100}), norm(f32, {});
  const NormTensor list[] = {{f32, 100, x.data(), y.data()}};
  clip_by_global_norm(1, {1}, list, f32, norm.data());
  CHECK(norm.at(0) == Approx(1e31));
  CHECK(y.at(0) == Approx(0.1));
  x.set(3, std::nan(""));
  clip_by_global_norm(1, {1}, list, f32, norm.data());
  CHECK(std::isnan(norm.at(0)));
  CHECK(std::isnan(y.at(0)));
}
