#include "systolic/replay/expression.h"

#include <cctype>

namespace heddle::systolic::replay {
namespace {

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

constexpr int64_t number_max = int64_t{1} << 40;

}  // namespace

void Reader::skip() {
  while (at_ < text_.size() && text_[at_] == ' ') ++at_;
}

bool Reader::take(char c) {
  skip();
  if (at_ == text_.size() || text_[at_] != c) return false;
  ++at_;
  return true;
}

bool Reader::take(std::string_view word) {
  skip();
  if (text_.substr(at_, word.size()) != word) return false;
  at_ += word.size();
  return true;
}

std::string Reader::name() {
  skip();
  const size_t begin = at_;
  while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]))) ++at_;
  if (at_ == begin || is_digit(text_[begin])) fail_("a name is missing in '" + std::string(text_) + "'");
  return std::string(text_.substr(begin, at_ - begin));
}

int64_t Reader::number() {
  skip();
  if (at_ == text_.size() || !is_digit(text_[at_]))
    fail_("a number is missing in '" + std::string(text_) + "'");
  int64_t value = 0;
  while (at_ < text_.size() && is_digit(text_[at_])) {
    value = value * 10 + (text_[at_++] - '0');
    if (value > number_max) fail_("a number of '" + std::string(text_) + "' is too large");
  }
  return value;
}

Affine Reader::affine() {
  Affine a;
  for (bool first = true;; first = false) {
    int64_t sign = 1;
    skip();
    // "a +: n": the plus belongs to the range.
    if (!first && text_.substr(at_, 2) == "+:") return a;
    if (take('-'))
      sign = -1;
    else if (!take('+') && !first)
      return a;
    skip();
    int64_t factor = sign;
    std::string loop;
    if (at_ < text_.size() && is_digit(text_[at_])) {
      factor *= number();
      if (take('*')) loop = name();
    } else {
      loop = name();
    }
    if (loop.empty()) {
      a.constant += factor;
      continue;
    }
    int found = -1;
    for (int l : open_)
      if (loops_[static_cast<size_t>(l)].name == loop) found = l;
    if (found < 0) fail_("'" + loop + "' in '" + std::string(text_) + "' is no loop around this statement");
    a.terms.push_back({found, factor});
  }
}

std::vector<Affine> Reader::indices() {
  std::vector<Affine> list;
  if (!take('[')) return list;
  do list.push_back(affine());
  while (take(','));
  if (!take(']')) fail_("']' is missing in '" + std::string(text_) + "'");
  return list;
}

Range Reader::range() {
  Range r;
  if (take(':')) return r;
  r.begin = affine();
  if (take(std::string_view("+:"))) {
    r.kind = Range::Kind::part;
    r.count = number();
    if (r.count < 1) fail_("'" + std::string(text_) + "' takes no element");
  } else {
    r.kind = Range::Kind::index;
  }
  return r;
}

std::vector<Range> Reader::box(char open, char close) {
  std::vector<Range> list;
  if (!take(open)) return list;
  do list.push_back(range());
  while (take(','));
  if (!take(close)) fail_(std::string("'") + close + "' is missing in '" + std::string(text_) + "'");
  return list;
}

void Reader::end() {
  skip();
  if (at_ != text_.size())
    fail_("'" + std::string(text_.substr(at_)) + "' at the end of '" + std::string(text_) +
          "' is not understood");
}

}  // namespace heddle::systolic::replay
