#include "heddle/systolic/page.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "heddle/error.h"
#include "systolic/report/picture.h"

namespace heddle::systolic {
namespace {

using nlohmann::ordered_json;

constexpr const char* style =
    "body{font:15px/1.45 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;color:#1f2937;"
    "background:#f6f7f9;margin:0}main{max-width:1240px;margin:0 auto;padding:24px}"
    "h1{font-size:26px;margin:0 0 4px}h2{font-size:19px;margin:34px 0 8px;padding-top:10px;"
    "border-top:2px solid #e2e5ea}h3{font-size:15px;margin:20px 0 6px}"
    ".stamp{display:inline-block;background:#fef3c7;border:1px solid #f3d27a;border-radius:4px;padding:2px "
    "10px;"
    "margin:6px 0}.card{background:#fff;border:1px solid "
    "#e2e5ea;border-radius:8px;padding:14px;overflow-x:auto}"
    "svg{display:block;width:100%;height:auto;font-size:12px}svg text{font-family:inherit;fill:#374151}"
    "svg text[fill='#ffffff']{fill:#fff}table{border-collapse:collapse;width:100%;font-size:13.5px;"
    "font-variant-numeric:tabular-nums}th,td{padding:4px 8px;text-align:right;border-bottom:1px solid "
    "#eef0f3;"
    "white-space:nowrap}.words th:last-child,.words "
    "td:last-child{text-align:left}td:first-child{max-width:330px;overflow:hidden;"
    "text-overflow:ellipsis}th{font-weight:600;color:#4b5563}th:first-child,td:first-child{text-align:"
    "left}"
    ".grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:10px 0}"
    ".fact{background:#fff;border:1px solid #e2e5ea;border-radius:8px;padding:8px 12px}.fact b{display:block;"
    "font-size:18px}.fact "
    "span{color:#6b7280;font-size:12.5px}.unit{display:inline-block;width:9px;height:9px;"
    "border-radius:2px;margin-right:5px}details{margin-top:10px}summary{cursor:pointer;color:#4b5563}"
    "p.note{color:#6b7280;font-size:13px;margin:6px 0}";

std::string table_html(const PageTable& table) {
  const bool words = !table.rows.empty() && !table.rows.front().empty() &&
                     !table.rows.front().back().empty() &&
                     std::isalpha(static_cast<unsigned char>(table.rows.front().back().front()));
  std::string html = words ? "<table class=\"words\"><tr>" : "<table><tr>";
  for (const std::string& column : table.columns) html += "<th>" + escaped(column) + "</th>";
  html += "</tr>\n";
  for (const auto& row : table.rows) {
    html += "<tr>";
    for (const std::string& cell : row) html += "<td>" + escaped(cell) + "</td>";
    html += "</tr>\n";
  }
  return html + "</table>";
}

std::string fact(const std::string& value, const std::string& what) {
  return "<div class=\"fact\"><b>" + escaped(value) + "</b><span>" + escaped(what) + "</span></div>";
}

std::string percent_text(double percent) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", percent);
  return text;
}

std::string facts_html(const ordered_json& r) {
  const auto number = [&](const char* key) { return r.at(key).get<double>(); };
  return "<div class=\"grid\">" + fact(time_text(number("total_time")), "simulated time") +
         fact(percent_text(number("mfu_estimated_percent")), "MFU (model operations of the peak)") +
         fact(percent_text(number("tensor_engine_active_time_percent")), "tensor engine busy") +
         fact(percent_text(number("dma_active_time_percent")), "DMA busy") +
         fact(percent_text(number("mbu_estimated_percent")), "MBU (bytes of the HBM domain's)") +
         fact(quantity_text(number("hbm_read_bytes")) + "B / " + quantity_text(number("hbm_write_bytes")) +
                  "B",
              "HBM read / written") +
         "</div>\n";
}

// Two breakdowns of the critical path side by side.
std::string path_html(const ordered_json& path, double total) {
  const auto table = [&](const char* key, const char* title, size_t most) {
    PageTable t{"", {title, "time", "share"}, {}};
    for (const auto& [name, time] : path.at(key).items()) {
      if (t.rows.size() == most) break;
      t.rows.push_back({name, time_text(time.template get<double>()),
                        percent_text(100 * time.template get<double>() / total)});
    }
    return "<div class=\"card\">" + table_html(t) + "</div>";
  };
  return "<div class=\"grid\" style=\"grid-template-columns:repeat(auto-fit,minmax(300px,1fr))\">" +
         table("by_unit", "by unit", 6) + table("by_cause", "by what was waited for", 8) +
         table("by_opcode", "by instruction", 8) + "</div>\n";
}

std::string nodes_html(const ordered_json& report) {
  std::vector<const ordered_json*> nodes;
  for (const ordered_json& node : report.at("nodes")) nodes.push_back(&node);
  const auto time = [](const ordered_json* n, const char* key) { return n->at(key).get<double>(); };
  std::stable_sort(nodes.begin(), nodes.end(), [&](const ordered_json* a, const ordered_json* b) {
    return time(a, "critical_time") > time(b, "critical_time");
  });
  constexpr size_t most = 60;
  std::string html = "<table><tr><th>op</th><th>critical time</th><th>share</th><th>bound by</th>";
  for (const char* column : {"tensor", "scalar", "vector", "gpsimd", "dma", "HBM bytes", "instructions"})
    html += std::string("<th>") + column + "</th>";
  html += "</tr>\n";
  for (size_t i = 0; i < std::min(most, nodes.size()); ++i) {
    const ordered_json* n = nodes[i];
    const std::string unit = n->at("bound_by");
    html += "<tr><td>" + escaped(n->at("scope")) + "</td><td>" + time_text(time(n, "critical_time")) +
            "</td><td>" + percent_text(time(n, "critical_percent")) +
            "</td><td><span class=\"unit\" style=\"background:" + unit_colour(unit) + "\"></span>" + unit +
            "</td>";
    for (const char* key : {"tensor_time", "scalar_time", "vector_time", "gpsimd_time", "dma_time"})
      html += "<td>" + (time(n, key) > 0 ? time_text(time(n, key)) : std::string("-")) + "</td>";
    html += "<td>" + quantity_text(time(n, "hbm_bytes")) + "B</td><td>" + n->at("instructions").dump() +
            "</td></tr>\n";
  }
  html += "</table>";
  if (nodes.size() > most)
    html += "<p class=\"note\">" + std::to_string(nodes.size() - most) + " shorter ones are left out.</p>";
  return html;
}

std::string metrics_html(const ordered_json& report) {
  PageTable t{"", {"metric", "value"}, {}};
  for (const auto& [key, value] : report.items())
    if (!value.is_structured())
      t.rows.push_back({key, value.is_string() ? value.get<std::string>() : value.dump()});
  return "<details><summary>All metrics of the profile</summary>" + table_html(t) + "</details>";
}

std::string run_html(const PageRun& run) {
  const ordered_json r = ordered_json::parse(run.report, nullptr, false);
  if (!r.is_object() || !r.contains("activity"))
    throw Error(ErrorCode::corrupt, "page: '" + run.title + "' has no report of a simulated run");
  const double total = r.at("total_time").get<double>();
  std::string html = "<h2>" + escaped(run.title) + "</h2>\n<p>" + escaped(r.at("device").get<std::string>()) +
                     ": " + escaped(r.at("bottleneck").get<std::string>()) + ".</p>\n" + facts_html(r);
  const auto card = [&](const char* title, const std::string& what, const char* note = "") {
    html += std::string("<h3>") + title + "</h3><div class=\"card\">" + what + "</div>";
    if (*note) html += std::string("<p class=\"note\">") + note + "</p>\n";
  };
  card("Timeline", timeline_svg(r), "The darker, the larger the part of the time in which the unit is busy.");
  card("What each engine's time goes to", shares_svg(r));
  if (r.at("roofline").at("achieved_flops").get<double>() > 0)
    card("Roofline", roofline_svg(r),
         "Each dot is an op with products, its time the part of the critical path that it holds; the large "
         "one is the "
         "whole run. Ops hide behind others, so a dot may lie above what the op alone could reach.");
  html += "<h3>Critical path: the chain of instructions that bounds the run</h3>\n" +
          path_html(r.at("critical_path"), total);
  card("Ops", nodes_html(r),
       "Critical time: the part of the critical path that the op holds, waiting in DMA queues "
       "included. Engines: issue time of the op's instructions.");
  return html + metrics_html(r);
}

}  // namespace

std::string html_page(const Page& page) {
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>" +
      escaped(page.title) + "</title><style>" + style + "</style></head><body><main>\n<h1>" +
      escaped(page.title) +
      "</h1>\n<div class=\"stamp\">simulated; calibrated on public figures, never run on Trainium</div>\n";
  if (!page.subtitle.empty()) html += "<p>" + escaped(page.subtitle) + "</p>\n";
  for (const PageTable& table : page.tables)
    html += "<h3>" + escaped(table.title) + "</h3><div class=\"card\">" + table_html(table) + "</div>\n";
  for (const PageChart& chart : page.charts)
    html += "<h3>" + escaped(chart.title) + "</h3><div class=\"card\">" + chart_svg(chart) + "</div>\n";
  for (const PageRun& run : page.runs) html += run_html(run);
  return html + "</main></body></html>\n";
}

}  // namespace heddle::systolic
