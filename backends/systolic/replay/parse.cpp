#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "heddle/error.h"
#include "systolic/replay/expression.h"
#include "systolic/replay/nest.h"

namespace heddle::systolic::replay {
namespace {

using nlohmann::json;

const std::map<std::string, Verb>& verbs() {
  static const std::map<std::string, Verb> table = {
      {"load", Verb::load},
      {"store", Verb::store},
      {"matmul", Verb::multiply},
      {"transpose", Verb::transpose},
      {"copy", Verb::copy},
      {"activation", Verb::activation},
      {"activation_reduce", Verb::activation_reduce},
      {"tensor_scalar", Verb::tensor_scalar},
      {"tensor_tensor", Verb::tensor_tensor},
      {"scalar_tensor_tensor", Verb::scalar_tensor_tensor},
      {"reduce", Verb::reduce},
      {"loop_reduce", Verb::loop_reduce},
      {"tensor_tensor_scan", Verb::scan},
      {"reciprocal", Verb::reciprocal},
      {"memset", Verb::memset},
      {"iota", Verb::iota},
      {"affine_select", Verb::affine_select},
  };
  return table;
}

// How many tiles a verb reads and writes.
struct Arity {
  size_t out, in;
};
Arity arity_of(Verb verb) {
  switch (verb) {
    case Verb::load:
    case Verb::memset:
    case Verb::iota:
      return {1, 0};
    case Verb::store:
      return {0, 1};
    case Verb::activation_reduce:
      return {2, 1};
    case Verb::multiply:
    case Verb::tensor_tensor:
    case Verb::scalar_tensor_tensor:
    case Verb::scan:
      return {1, 2};
    default:
      return {1, 1};
  }
}

std::optional<AluOp> parse_alu_op(const std::string& name) {
  for (int i = 0; i < alu_op_count; ++i)
    if (name == alu_op_name(static_cast<AluOp>(i))) return static_cast<AluOp>(i);
  return std::nullopt;
}

class Parser {
 public:
  Parser(const json& document, std::string source) : document_(document), source_(std::move(source)) {}

  Nest run() {
    if (!document_.is_object()) fail("", "must be an object");
    allow(document_, "", {"name", "source", "device", "hbm", "tiles", "body", "facts", "published", "note"});
    nest_.name = text(document_, "", "name");
    nest_.source = text(document_, "", "source");
    nest_.device = text(document_, "", "device");
    declare_hbm();
    declare_tiles();
    nest_.body = body(member(document_, "", "body"), "/body");
    for (size_t t = 0; t < each_.size(); ++t)
      if (!each_[t].empty())
        nest_.tiles[t].each = loop_named(each_[t], "/tiles/" + nest_.tiles[t].name, nullptr);
    check_scopes();
    if (document_.contains("facts")) facts(document_["facts"]);
    if (document_.contains("published")) published(document_["published"]);
    return std::move(nest_);
  }

 private:
  [[noreturn]] void fail(const std::string& place, const std::string& what) const {
    throw Error(ErrorCode::invalid_argument,
                "replay file " + source_ + ", at " + (place.empty() ? "its top" : place) + ": " + what);
  }

  const json& member(const json& object, const std::string& place, const char* key) const {
    if (!object.is_object() || !object.contains(key)) fail(place, std::string("'") + key + "' is missing");
    return object[key];
  }
  std::string text(const json& object, const std::string& place, const char* key) const {
    const json& value = member(object, place, key);
    if (!value.is_string()) fail(place + "/" + key, "must be a text");
    return value.get<std::string>();
  }
  double number(const json& value, const std::string& place) const {
    if (!value.is_number()) fail(place, "must be a number");
    return value.get<double>();
  }
  int whole(const json& value, const std::string& place, int low, int high) const {
    if (!value.is_number_integer() || value.get<int64_t>() < low || value.get<int64_t>() > high)
      fail(place, "must be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
    return static_cast<int>(value.get<int64_t>());
  }
  void allow(const json& object, const std::string& place, std::initializer_list<const char*> keys) const {
    for (const auto& [key, value] : object.items()) {
      bool known = false;
      std::string all;
      for (const char* k : keys) known = known || key == k, all += (all.empty() ? "" : ", ") + std::string(k);
      if (!known) fail(place + "/" + key, "is not a key here; there are: " + all);
    }
  }

  // "float32 [128, 512]", after an optional word.
  DType dtype_and_shape(std::string_view rest, const std::string& place, std::vector<int64_t>& shape) const {
    const size_t bracket = rest.find('[');
    const size_t close = rest.rfind(']');
    if (bracket == std::string_view::npos || close == std::string_view::npos || close < bracket)
      fail(place, "must be a dtype and sizes, as in \"float32 [128, 512]\"");
    std::string name(rest.substr(0, bracket));
    while (!name.empty() && name.back() == ' ') name.pop_back();
    const auto dtype = parse_dtype(name);
    if (!dtype) fail(place, "'" + name + "' is no dtype");
    int64_t size = -1;
    for (char c : rest.substr(bracket + 1, close - bracket)) {
      if (c >= '0' && c <= '9')
        size = std::max<int64_t>(size, 0) * 10 + (c - '0');
      else if (c == ',' || c == ']') {
        if (size < 1) fail(place, "a size is missing or 0");
        shape.push_back(size), size = -1;
      } else if (c != ' ') {
        fail(place, std::string("'") + c + "' among the sizes");
      }
      if (size > (int64_t{1} << 32)) fail(place, "a size is too large");
    }
    return *dtype;
  }

  void declare_hbm() {
    const json& all = member(document_, "", "hbm");
    if (!all.is_object()) fail("/hbm", "must be an object of name: \"dtype [sizes]\"");
    for (const auto& [name, value] : all.items()) {
      HbmValue v;
      v.name = name;
      v.dtype = dtype_and_shape(text(all, "/hbm", name.c_str()), "/hbm/" + name, v.shape);
      if (v.shape.size() > 5) fail("/hbm/" + name, "has more than five dimensions");
      nest_.hbm.push_back(std::move(v));
    }
  }

  void declare_tiles() {
    const json& all = member(document_, "", "tiles");
    if (!all.is_object())
      fail("/tiles", "must be an object of name: \"sbuf dtype [partitions, free sizes]\"");
    for (const auto& [name, value] : all.items()) {
      const std::string place = "/tiles/" + name;
      const std::string declared = text(all, "/tiles", name.c_str());
      TileFamily t;
      t.name = name;
      if (declared.rfind("sbuf ", 0) != 0 && declared.rfind("psum ", 0) != 0)
        fail(place, "must begin with sbuf or psum");
      t.memory = declared[0] == 's' ? Memory::sbuf : Memory::psum;
      std::vector<int64_t> shape;
      t.dtype = dtype_and_shape(std::string_view(declared).substr(5), place, shape);
      if (shape.size() < 2 || shape.size() > 5)
        fail(place, "a tile has a partition count and one to four free sizes");
      if (shape[0] > 128) fail(place, "has more than 128 partitions");
      t.partitions = static_cast<int>(shape[0]);
      for (size_t i = 1; i < shape.size(); ++i)
        t.free.push_back(static_cast<int>(std::min<int64_t>(shape[i], 1 << 24)));
      const size_t each = declared.rfind("] each ");
      each_.push_back(each == std::string::npos ? "" : declared.substr(each + 7));
      nest_.tiles.push_back(std::move(t));
    }
  }

  // A tile of `each` iteration of a loop is used within that loop.
  void check_scopes() const {
    for (const Statement& s : nest_.statements)
      for (const auto* list : {&s.out, &s.in})
        for (const Operand& o : *list) {
          const TileFamily& t = nest_.tiles[static_cast<size_t>(o.object)];
          if (t.each >= 0 && std::find(s.around.begin(), s.around.end(), t.each) == s.around.end())
            fail(s.place, "tile '" + t.name + "' belongs to the iterations of loop '" +
                              nest_.loops[static_cast<size_t>(t.each)].name +
                              "', which is not around this statement");
          if (o.instance.size() > (t.each >= 0 ? size_t{3} : size_t{5}))
            fail(s.place, "tile '" + t.name + "' has more indices than " + (t.each >= 0 ? "three" : "five"));
        }
  }

  std::vector<Node> body(const json& list, const std::string& place) {
    if (!list.is_array()) fail(place, "must be a list of loops and statements");
    std::vector<Node> nodes;
    for (size_t i = 0; i < list.size(); ++i) {
      const json& item = list[i];
      const std::string at = place + "/" + std::to_string(i);
      if (!item.is_object()) fail(at, "must be a loop or a statement");
      Node node;
      if (item.contains("for")) {
        allow(item, at, {"for", "count", "do"});
        Loop loop{text(item, at, "for"), whole(member(item, at, "count"), at + "/count", 1, 4095)};
        for (const Loop& l : nest_.loops)
          if (l.name == loop.name) fail(at + "/for", "there is a loop '" + loop.name + "' already");
        node.loop = static_cast<int>(nest_.loops.size());
        nest_.loops.push_back(std::move(loop));
        open_.push_back(node.loop);
        node.body = body(member(item, at, "do"), at + "/do");
        open_.pop_back();
      } else {
        node.statement = statement(item, at);
      }
      nodes.push_back(std::move(node));
    }
    return nodes;
  }

  Reader reader(std::string_view text, const std::string& place) const {
    return {text, nest_.loops, open_, [this, place](const std::string& what) { fail(place, what); }};
  }

  Operand tile(const std::string& written, const std::string& place) const {
    Reader r = reader(written, place);
    Operand o;
    const std::string name = r.name();
    for (size_t t = 0; t < nest_.tiles.size(); ++t)
      if (nest_.tiles[t].name == name) o.object = static_cast<int>(t);
    if (o.object < 0) fail(place, "there is no tile '" + name + "' under /tiles");
    o.instance = r.indices();
    o.box = r.box('(', ')');
    r.end();
    const TileFamily& t = nest_.tiles[static_cast<size_t>(o.object)];
    if (!o.box.empty()) {
      if (o.box.size() != t.free.size() + 1)
        fail(place, "'" + written + "' has " + std::to_string(o.box.size()) + " ranges, the tile " +
                        std::to_string(t.free.size() + 1) + " dimensions");
      if (o.box[0].kind == Range::Kind::index) fail(place, "partitions are taken as a range");
    }
    return o;
  }

  Operand region(const std::string& written, const std::string& place) const {
    Reader r = reader(written, place);
    Operand o;
    const std::string name = r.name();
    for (size_t v = 0; v < nest_.hbm.size(); ++v)
      if (nest_.hbm[v].name == name) o.object = static_cast<int>(v);
    if (o.object < 0) fail(place, "there is no value '" + name + "' under /hbm");
    o.box = r.box('[', ']');
    r.end();
    if (!o.box.empty() && o.box.size() != nest_.hbm[static_cast<size_t>(o.object)].shape.size())
      fail(place, "'" + written + "' has " + std::to_string(o.box.size()) + " ranges, the value " +
                      std::to_string(nest_.hbm[static_cast<size_t>(o.object)].shape.size()) + " dimensions");
    return o;
  }

  void tiles(const json& item, const std::string& at, const char* key, size_t count,
             std::vector<Operand>& list) const {
    if (count == 0) return;
    const json& value = member(item, at, key);
    const std::string place = at + "/" + key;
    if (count == 1 && value.is_string()) {
      list.push_back(tile(value.get<std::string>(), place));
      return;
    }
    if (!value.is_array() || value.size() != count)
      fail(place, "must be " +
                      (count == 1 ? std::string("a tile") : "a list of " + std::to_string(count) + " tiles"));
    for (size_t i = 0; i < count; ++i) {
      if (!value[i].is_string()) fail(place + "/" + std::to_string(i), "must be a text");
      list.push_back(tile(value[i].get<std::string>(), place + "/" + std::to_string(i)));
    }
  }

  void factor(const json& item, const std::string& at, const char* key, double preset, Statement& s,
              Factor& f) const {
    f.number = preset;
    if (!item.contains(key)) return;
    if (item[key].is_number()) {
      f.number = item[key].get<double>();
    } else if (item[key].is_string()) {
      f.operand = static_cast<int>(s.in.size());
      s.in.push_back(tile(item[key].get<std::string>(), at + "/" + key));
    } else {
      fail(at + "/" + key, "must be a number or a tile [P, 1]");
    }
  }

  AluOp alu_op(const json& item, const std::string& at, const char* key, AluOp preset) const {
    if (!item.contains(key)) return preset;
    const auto op = parse_alu_op(text(item, at, key));
    if (!op)
      fail(at + "/" + key, "'" + text(item, at, key) + "' is no operator (add, multiply, maximum, ...)");
    return *op;
  }

  int loop_named(const std::string& name, const std::string& place, const std::vector<int>* among) const {
    for (size_t l = 0; l < nest_.loops.size(); ++l) {
      if (nest_.loops[l].name != name) continue;
      if (among == nullptr || std::find(among->begin(), among->end(), static_cast<int>(l)) != among->end())
        return static_cast<int>(l);
    }
    fail(place, "there is no loop '" + name + "'" + (among != nullptr ? " around this statement" : ""));
  }

  std::vector<int> loop_list(const json& value, const std::string& place,
                             const std::vector<int>* among) const {
    std::vector<int> loops;
    if (value.is_string()) return {loop_named(value.get<std::string>(), place, among)};
    if (!value.is_array()) fail(place, "must be a loop or a list of loops");
    for (const json& name : value) {
      if (!name.is_string()) fail(place, "must name loops");
      loops.push_back(loop_named(name.get<std::string>(), place, among));
    }
    return loops;
  }

  int statement(const json& item, const std::string& at) {
    allow(item, at,
          {"op",     "out",     "in",       "from", "to",   "function", "alu",  "alu2",           "scale",
           "bias",   "operand", "operand2", "over", "mask", "value",    "base", "partition_step", "step",
           "engine", "axes",    "one_zero"});
    Statement s;
    s.place = at, s.around = open_;
    const std::string op = text(item, at, "op");
    const auto verb = verbs().find(op);
    if (verb == verbs().end()) {
      std::string all;
      for (const auto& [name, v] : verbs()) all += (all.empty() ? "" : ", ") + name;
      fail(at + "/op", "there is no op '" + op + "'; there are: " + all);
    }
    s.verb = verb->second;
    const Arity arity = arity_of(s.verb);
    tiles(item, at, "out", arity.out, s.out);
    tiles(item, at, "in", arity.in, s.in);
    if (s.verb == Verb::load)
      s.region = region(text(item, at, "from"), at + "/from"), s.hbm = s.region.object;
    if (s.verb == Verb::store) s.region = region(text(item, at, "to"), at + "/to"), s.hbm = s.region.object;
    if (s.verb == Verb::activation || s.verb == Verb::activation_reduce) {
      const auto f = parse_function(text(item, at, "function"));
      if (!f) fail(at + "/function", "'" + text(item, at, "function") + "' is no function");
      s.function = *f;
      factor(item, at, "scale", 1, s, s.first), factor(item, at, "bias", 0, s, s.second);
    } else {
      s.op0 = alu_op(item, at, "alu", AluOp::bypass);
      s.op1 = alu_op(item, at, "alu2", AluOp::bypass);
      factor(item, at, s.verb == Verb::memset ? "value" : "operand", 0, s, s.first);
      factor(item, at, "operand2", 0, s, s.second);
    }
    if (item.contains("one_zero")) {
      if (!item["one_zero"].is_boolean()) fail(at + "/one_zero", "must be true or false");
      s.one_zero = item["one_zero"].get<bool>();
    }
    if (item.contains("axes")) s.axes = whole(item["axes"], at + "/axes", 1, 4);
    if (item.contains("over")) s.over = loop_list(item["over"], at + "/over", &open_);
    if (s.verb == Verb::loop_reduce && s.over.empty())
      fail(at, "'over' is missing: the loops that are reduced");
    if ((s.verb == Verb::tensor_tensor || s.verb == Verb::reduce || s.verb == Verb::loop_reduce) &&
        s.op0 == AluOp::bypass)
      fail(at, "'alu' is missing: add, multiply, maximum, ...");
    if (item.contains("mask")) mask(item["mask"], at + "/mask", s);
    if (s.verb == Verb::iota || s.verb == Verb::affine_select) {
      if (item.contains("base")) s.pattern.base = whole(item["base"], at + "/base", -(1 << 30), 1 << 30);
      if (item.contains("partition_step"))
        s.pattern.partition_step = whole(item["partition_step"], at + "/partition_step", -(1 << 30), 1 << 30);
      if (item.contains("step")) s.pattern.step[0] = whole(item["step"], at + "/step", -(1 << 30), 1 << 30);
    }
    if (item.contains("engine")) {
      const std::string name = text(item, at, "engine");
      for (int e = 0; e < engine_count; ++e)
        if (name == engine_name(static_cast<Engine>(e))) s.engine = e;
      if (s.engine < 0)
        fail(at + "/engine", "'" + name + "' is no engine: tensor, scalar, vector, gpsimd, sync");
    }
    s.label = op + " " +
              (s.out.empty() ? nest_.hbm[static_cast<size_t>(s.hbm)].name
                             : nest_.tiles[static_cast<size_t>(s.out[0].object)].name);
    nest_.statements.push_back(std::move(s));
    return static_cast<int>(nest_.statements.size()) - 1;
  }

  void mask(const json& value, const std::string& place, Statement& s) const {
    if (!value.is_object() || value.size() != 1)
      fail(place, "must be {\"rows\": limit} or {\"columns\": limit}");
    allow(value, place, {"rows", "columns"});
    s.mask_rows = value.contains("rows");
    s.mask_columns = !s.mask_rows;
    const char* key = s.mask_rows ? "rows" : "columns";
    const std::string written = text(value, place, key);
    Reader r = reader(written, place + "/" + key);
    s.limit = r.affine();
    r.end();
  }

  void facts(const json& list) {
    if (!list.is_array()) fail("/facts", "must be a list");
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string at = "/facts/" + std::to_string(i);
      const json& item = list[i];
      if (!item.is_object()) fail(at, "must be an object");
      allow(item, at, {"hoist", "reload", "spill", "in", "when", "stays_after", "because"});
      Fact f;
      const char* key = item.contains("hoist") ? "hoist" : item.contains("reload") ? "reload" : "spill";
      f.kind = key[0] == 'h' ? Fact::Kind::hoist : key[0] == 'r' ? Fact::Kind::reload : Fact::Kind::spill;
      const std::string name = text(item, at, key);
      for (size_t t = 0; t < nest_.tiles.size(); ++t)
        if (nest_.tiles[t].name == name) f.family = static_cast<int>(t);
      if (f.family < 0) fail(at + "/" + key, "there is no tile '" + name + "'");
      f.loops = loop_list(member(item, at, "in"), at + "/in", nullptr);
      if (f.loops.empty()) fail(at + "/in", "names no loop");
      f.because = text(item, at, "because");
      if (item.contains("stays_after")) {
        if (!item["stays_after"].is_boolean()) fail(at + "/stays_after", "must be true or false");
        f.stays_after = item["stays_after"].get<bool>();
      }
      if (item.contains("when")) {
        // Of the loops around the statements that make the tile.
        std::vector<int> every;
        for (size_t l = 0; l < nest_.loops.size(); ++l) every.push_back(static_cast<int>(l));
        const std::string written = text(item, at, "when");
        Reader r(written, nest_.loops, every,
                 [this, at](const std::string& what) { fail(at + "/when", what); });
        f.conditional = true;
        f.condition = r.affine();
        r.end();
      }
      nest_.facts.push_back(std::move(f));
    }
  }

  void published(const json& p) {
    const std::string at = "/published";
    if (!p.is_object()) fail(at, "must be an object");
    allow(p, at,
          {"source", "milliseconds", "profile_milliseconds", "hbm_read_bytes", "hbm_write_bytes",
           "scalar_active", "vector_active", "gpsimd_active", "tensor_active", "dma_active", "hardware_flops",
           "transpose_flops"});
    const auto get = [&](const char* key) { return p.contains(key) ? number(p[key], at + "/" + key) : 0.0; };
    Published& v = nest_.published;
    v.source = text(p, at, "source");
    v.seconds = get("milliseconds") * 1e-3, v.profile_seconds = get("profile_milliseconds") * 1e-3;
    v.hbm_read_bytes = static_cast<int64_t>(get("hbm_read_bytes"));
    v.hbm_write_bytes = static_cast<int64_t>(get("hbm_write_bytes"));
    v.act_active = get("scalar_active"), v.dve_active = get("vector_active");
    v.gpsimd_active = get("gpsimd_active"), v.pe_active = get("tensor_active"),
    v.dma_active = get("dma_active");
    v.hardware_flops = get("hardware_flops"), v.transpose_flops = get("transpose_flops");
  }

  const json& document_;
  std::string source_;
  Nest nest_;
  std::vector<int> open_;
  std::vector<std::string> each_;  // by tile
};

}  // namespace

Nest parse_nest(std::string_view text, const std::string& source) {
  json document;
  try {
    document = json::parse(text);
  } catch (const json::parse_error& e) {
    size_t line = 1;
    for (size_t i = 0; i < std::min<size_t>(e.byte, text.size()); ++i) line += text[i] == '\n';
    throw Error(ErrorCode::corrupt,
                "replay file " + source + ", line " + std::to_string(line) + ": is not JSON; " + e.what());
  }
  return Parser(document, source).run();
}

}  // namespace heddle::systolic::replay
