// An explanation reads as a table and as one JSON document.
#include <nlohmann/json.hpp>

#include "heddle/explain.h"
#include "plan/text_table.h"
#include "tests/catch.h"

using heddle::Explanation;
using heddle::plan::bytes_text;
using heddle::plan::count_text;
using heddle::plan::TextTable;

namespace {

Explanation example() {
  Explanation explanation;
  explanation.nodes.push_back(
      {"layer0/up", "matmul", "float32[8,4]", "toy", "toy.matmul", 0, 2.5e6, 3072, {}});
  explanation.nodes.push_back(
      {"loss", "reduce", "float32[]", "cpu", "", 1, 8, 36, {{"toy", "reduce is not offered"}}});
  explanation.copies.push_back({"layer0/up", "toy", "cpu", 128, "crosses devices"});
  explanation.memory.push_back({"cpu", 2048, 1024, 4096, 0});
  explanation.partitions = {"toy", "cpu"};
  return explanation;
}

}  // namespace

TEST_CASE("the table aligns its columns and names refusals, copies and memory", "[explain]") {
  CHECK(example().table() ==
        "node       op      device  kernel      part    flop     bytes  types\n"
        "layer0/up  matmul  toy     toy.matmul     0  2.50 M  3.00 KiB  float32[8,4]\n"
        "loss       reduce  cpu     (fused)        1       8      36 B  float32[]\n"
        "    not on toy: reduce is not offered\n"
        "\n"
        "copy       from  to   bytes  why\n"
        "layer0/up  toy   cpu  128 B  crosses devices\n"
        "\n"
        "memory  intermediates  at least  variables  constants\n"
        "cpu          2.00 KiB  1.00 KiB   4.00 KiB          0\n"
        "\n"
        "2 nodes in 2 partitions; cpu: 1 node, 8 flop; toy: 1 node, 2.50 Mflop; 1 copy (1 between devices), "
        "128 B\n");
}

TEST_CASE("the table shortens long types, the document does not", "[explain]") {
  Explanation explanation = example();
  explanation.nodes[0].types = std::string(500, 'x');
  CHECK(explanation.table().find(std::string(117, 'x') + "...\n") != std::string::npos);
  CHECK(nlohmann::json::parse(explanation.json()).at("nodes").at(0).at("types") ==
        explanation.nodes[0].types);
}

TEST_CASE("an empty explanation is one line", "[explain]") {
  CHECK(Explanation().table() == "0 nodes in 0 partitions; 0 copies, 0\n");
}

TEST_CASE("the document holds everything, also names that are not UTF-8", "[explain]") {
  Explanation explanation = example();
  explanation.nodes[0].name = "bad \xff name \"\n";
  const auto document = nlohmann::json::parse(explanation.json());
  CHECK(document.at("nodes").at(0).at("name") == "bad \xef\xbf\xbd name \"\n");
  CHECK(document.at("nodes").at(0).at("flops") == 2.5e6);
  CHECK(document.at("nodes").at(1).at("declined").at(0).at("reason") == "reduce is not offered");
  CHECK(document.at("copies").at(0).at("bytes") == 128);
  CHECK(document.at("memory").at(0).at("lower_bound_bytes") == 1024);
  CHECK(document.at("partitions") == nlohmann::json({"toy", "cpu"}));
}

TEST_CASE("numbers have three digits and a unit", "[explain]") {
  CHECK(bytes_text(0) == "0");
  CHECK(bytes_text(1023) == "1023 B");
  CHECK(bytes_text(1024) == "1.00 KiB");
  CHECK(bytes_text(1024.0 * 1024 * 12.34) == "12.3 MiB");
  CHECK(count_text(0) == "0");
  CHECK(count_text(999) == "999");
  CHECK(count_text(1000) == "1.00 k");
  CHECK(count_text(999'700) == "1.00 M");
  CHECK(count_text(123'456'789) == "123 M");
}

TEST_CASE("text tables pad by column and leave no trailing spaces", "[explain]") {
  TextTable table({{"a"}, {"number", TextTable::Align::right}, {"last"}});
  CHECK(table.text().empty());
  table.row({"long cell", "1", ""});
  table.row({"x", "22", "y"});
  CHECK(table.text() ==
        "a          number  last\n"
        "long cell       1\n"
        "x              22  y\n");
}
