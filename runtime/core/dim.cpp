#include <algorithm>
#include <numeric>
#include <tuple>

#include "heddle/error.h"
#include "heddle/shape.h"

namespace heddle {
namespace {

constexpr int64_t unlimited = std::numeric_limits<int64_t>::max();

[[noreturn]] void overflow(const Dim& a, const char* sign, const Dim& b) {
  throw Error(ErrorCode::invalid_argument, "(" + to_string(a) + ") " + sign + " (" + to_string(b) +
                                               ") does not fit in 64 bits; check the sizes");
}

bool is_name(const std::string& text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto later = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '.'; };
  return !text.empty() && letter(text[0]) && std::all_of(text.begin(), text.end(), later);
}

std::string describe(const DimRange& r) {
  std::string text = "at least " + std::to_string(r.min);
  if (r.max != unlimited) text += ", at most " + std::to_string(r.max);
  if (r.multiple != 1) text += ", a multiple of " + std::to_string(r.multiple);
  return text;
}

// Throws unless some size is in the range.
void expect_inhabited(const std::string& name, const DimRange& r) {
  bool inhabited = r.min >= 0 && r.multiple >= 1 && r.min <= r.max;
  if (inhabited && r.min % r.multiple != 0) {
    int64_t first = 0;
    inhabited = !__builtin_add_overflow(r.min, r.multiple - r.min % r.multiple, &first) && first <= r.max;
  }
  if (!inhabited) {
    throw Error(ErrorCode::invalid_argument,
                "no size of dim '" + name + "' is " + describe(r) +
                    "; give a range with 0 <= min <= max and a multiple inside it");
  }
}

}  // namespace

Dim::Dim(std::string name, DimRange range) {
  if (!is_name(name)) {
    throw Error(
        ErrorCode::invalid_argument,
        "'" + name + "' is not the name of a dim; use letters, digits, '_' and '.', and begin with a letter");
  }
  expect_inhabited(name, range);
  terms_.emplace(Names{name}, 1);
  ranges_.emplace(std::move(name), range);
}

int64_t Dim::number() const {
  if (!is_number()) {
    throw Error(ErrorCode::invalid_argument,
                "dim '" + to_string(*this) + "' is not a number yet; bind its names first");
  }
  return constant_;
}

int64_t Dim::bind(const DimBinding& binding) const {
  for (const auto& [name, range] : ranges_) {
    const auto bound = binding.find(name);
    if (bound == binding.end()) {
      throw Error(ErrorCode::not_found, "dim '" + name + "' has no size; bind it to a number");
    }
    const int64_t size = bound->second;
    if (size < range.min || size > range.max || size % range.multiple != 0) {
      throw Error(ErrorCode::invalid_argument,
                  "dim '" + name + "' cannot be " + std::to_string(size) + ": it must be " + describe(range));
    }
  }
  int64_t sum = constant_;
  for (const auto& [factors, coefficient] : terms_) {
    int64_t product = coefficient;
    bool fits = true;
    for (const std::string& name : factors)
      fits &= !__builtin_mul_overflow(product, binding.at(name), &product);
    if (!fits || __builtin_add_overflow(sum, product, &sum)) {
      throw Error(
          ErrorCode::invalid_argument,
          "dim '" + to_string(*this) + "' does not fit in 64 bits with these sizes; bind smaller ones");
    }
  }
  return sum;
}

std::string Dim::name() const {
  if (constant_ != 0 || terms_.size() != 1) return {};
  const auto& [factors, coefficient] = *terms_.begin();
  return factors.size() == 1 && coefficient == 1 ? factors[0] : std::string();
}

std::map<std::string, DimRange> Dim::names() const { return ranges_; }

// Keeps the ranges of the names that are used. A name with two ranges must satisfy both.
void Dim::adopt_ranges(const Dim& a, const Dim& b) {
  ranges_.clear();
  for (const auto& [factors, coefficient] : terms_) {
    for (const std::string& name : factors) {
      if (ranges_.count(name) != 0) continue;
      const auto in_a = a.ranges_.find(name);
      const auto in_b = b.ranges_.find(name);
      DimRange range = in_a != a.ranges_.end() ? in_a->second : in_b->second;
      if (in_a != a.ranges_.end() && in_b != b.ranges_.end() && in_a->second != in_b->second) {
        const DimRange &r = in_a->second, &s = in_b->second;
        const int64_t common = std::gcd(r.multiple, s.multiple);
        range.min = std::max(r.min, s.min);
        range.max = std::min(r.max, s.max);
        if (__builtin_mul_overflow(r.multiple / common, s.multiple, &range.multiple))
          range.multiple = unlimited;
        expect_inhabited(name, range);
      }
      ranges_.emplace(name, range);
    }
  }
}

Dim operator+(const Dim& a, const Dim& b) {
  Dim sum = a;
  if (__builtin_add_overflow(a.constant_, b.constant_, &sum.constant_)) overflow(a, "+", b);
  for (const auto& [factors, coefficient] : b.terms_) {
    int64_t& total = sum.terms_[factors];
    if (__builtin_add_overflow(total, coefficient, &total)) overflow(a, "+", b);
    if (total == 0) sum.terms_.erase(factors);
  }
  sum.adopt_ranges(a, b);
  return sum;
}

Dim operator-(const Dim& a, const Dim& b) { return a + b * Dim(-1); }

Dim operator*(const Dim& a, const Dim& b) {
  Dim product;
  const auto accumulate = [&](const Dim::Names& left, int64_t x, const Dim::Names& right, int64_t y) {
    int64_t coefficient = 0;
    if (__builtin_mul_overflow(x, y, &coefficient)) overflow(a, "*", b);
    if (coefficient == 0) return;
    Dim::Names factors;
    std::merge(left.begin(), left.end(), right.begin(), right.end(), std::back_inserter(factors));
    int64_t& total = factors.empty() ? product.constant_ : product.terms_[factors];
    if (__builtin_add_overflow(total, coefficient, &total)) overflow(a, "*", b);
  };
  accumulate({}, a.constant_, {}, b.constant_);
  for (const auto& [factors, coefficient] : a.terms_) accumulate(factors, coefficient, {}, b.constant_);
  for (const auto& [factors, coefficient] : b.terms_) accumulate({}, a.constant_, factors, coefficient);
  for (const auto& [left, x] : a.terms_) {
    for (const auto& [right, y] : b.terms_) accumulate(left, x, right, y);
  }
  std::erase_if(product.terms_, [](const auto& term) { return term.second == 0; });
  product.adopt_ranges(a, b);
  return product;
}

std::optional<Dim> Dim::divide(const Dim& a, const Dim& b) {
  if (b.terms_.size() > 1 || (b.constant_ != 0 && !b.terms_.empty())) return std::nullopt;  // several terms
  Names factors;
  int64_t divisor = b.constant_;
  if (!b.terms_.empty()) std::tie(factors, divisor) = *b.terms_.begin();
  if (divisor == 0) return std::nullopt;
  const auto divides = [&](int64_t x) {
    return divisor == -1 ? x != std::numeric_limits<int64_t>::min() : x % divisor == 0;
  };
  Dim quotient;
  if (a.constant_ != 0) {
    if (!factors.empty() || !divides(a.constant_)) return std::nullopt;
    quotient.constant_ = a.constant_ / divisor;
  }
  for (const auto& [names, coefficient] : a.terms_) {
    if (!std::includes(names.begin(), names.end(), factors.begin(), factors.end()) || !divides(coefficient)) {
      return std::nullopt;
    }
    Names rest;
    std::set_difference(names.begin(), names.end(), factors.begin(), factors.end(), std::back_inserter(rest));
    (rest.empty() ? quotient.constant_ : quotient.terms_[rest]) = coefficient / divisor;
  }
  quotient.adopt_ranges(a, b);
  return quotient;
}

bool Dim::operator==(const Dim& other) const {
  return constant_ == other.constant_ && terms_ == other.terms_;
}

std::string to_string(const Dim& dim) { return dim.text(); }

std::string Dim::text() const {
  if (is_number()) return std::to_string(constant_);
  std::string out;
  const auto append = [&](int64_t coefficient, const std::string& product) {
    const bool negative = coefficient < 0;
    out += out.empty() ? (negative ? "-" : "") : (negative ? " - " : " + ");
    const std::string digits = std::to_string(coefficient).substr(negative ? 1 : 0);
    out += product.empty() ? digits : digits == "1" ? product : digits + "*" + product;
  };
  for (const auto& [factors, coefficient] : terms_) {
    std::string product;
    for (const std::string& name : factors) product += (product.empty() ? "" : "*") + name;
    append(coefficient, product);
  }
  if (constant_ != 0) append(constant_, "");
  return out;
}

}  // namespace heddle
