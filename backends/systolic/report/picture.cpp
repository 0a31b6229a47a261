#include "systolic/report/picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

namespace heddle::systolic {
namespace {

using nlohmann::ordered_json;

constexpr std::array<const char*, 6> units = {"tensor", "scalar", "vector", "gpsimd", "sync", "dma"};

// An SVG as it grows.
class Svg {
 public:
  Svg(double width, double height, const std::string& label) {
    add("<svg viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"%s\">", width, height, escaped(label).c_str());
  }
  template <class... Values>
  void add(const char* format, Values... values) {
    char text[1024];
    std::snprintf(text, sizeof text, format, values...);
    text_ += text;
  }
  void rect(double x, double y, double width, double height, const std::string& fill, double opacity = 1) {
    add("<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\" fill-opacity=\"%.3g\"/>", x,
        y, width, height, fill.c_str(), opacity);
  }
  void line(double x1, double y1, double x2, double y2, const char* style) {
    add("<line x1=\"%.2f\" y1=\"%.2f\" x2=\"%.2f\" y2=\"%.2f\" %s/>", x1, y1, x2, y2, style);
  }
  // `anchor`: start, middle or end.
  void text(double x, double y, const std::string& what, const char* anchor = "start") {
    add("<text x=\"%.2f\" y=\"%.2f\" text-anchor=\"%s\">", x, y, anchor);
    text_ += escaped(what) + "</text>";
  }
  // The text of a tooltip, inside an element that the caller opens and closes.
  void raw(const std::string& markup) { text_ += markup; }
  std::string finish() { return text_ + "</svg>\n"; }

 private:
  std::string text_;
};

constexpr const char* grid = "stroke=\"#d8dce2\" stroke-width=\"1\"";
constexpr const char* axis = "stroke=\"#6b7280\" stroke-width=\"1\"";

// About `wanted` round numbers from low to high.
std::vector<double> ticks(double low, double high, int wanted) {
  std::vector<double> at;
  if (!(high > low)) return {low};
  const double raw = (high - low) / wanted, power = std::pow(10, std::floor(std::log10(raw)));
  double step = power;
  for (const double factor : {1.0, 2.0, 5.0, 10.0})
    if (factor * power <= raw * 1.001) step = factor * power;
  for (double t = std::ceil(low / step - 1e-9) * step; t <= high + step * 1e-9; t += step)
    at.push_back(std::abs(t) < step * 1e-9 ? 0 : t);
  return at;
}

const std::array<std::string, 6>& line_colours() {
  static const std::array<std::string, 6> colours = {"#2563eb", "#dc2626", "#059669",
                                                     "#d97706", "#7c3aed", "#0891b2"};
  return colours;
}

}  // namespace

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

std::string quantity_text(double value) {
  constexpr std::array<const char*, 6> prefixes = {"", " k", " M", " G", " T", " P"};
  size_t prefix = 0;
  while (std::abs(value) >= 999.5 && prefix + 1 < prefixes.size()) value /= 1000, ++prefix;
  char text[32];
  std::snprintf(text, sizeof text, "%.3g%s", value, prefixes[prefix]);
  return text;
}

std::string time_text(double seconds) {
  constexpr std::array<std::pair<double, const char*>, 3> scales = {{{1e-6, "ns"}, {1e-3, "us"}, {1, "ms"}}};
  char text[32];
  for (const auto& [below, unit] : scales) {
    if (seconds >= below) continue;
    std::snprintf(text, sizeof text, "%.3g %s", seconds / (below * 1e-3), unit);
    return text;
  }
  std::snprintf(text, sizeof text, "%.3g s", seconds);
  return text;
}

std::string unit_colour(const std::string& unit) {
  constexpr std::array<const char*, 6> colours = {"#2563eb", "#d97706", "#059669",
                                                  "#7c3aed", "#6b7280", "#dc2626"};
  for (size_t u = 0; u < units.size(); ++u)
    if (unit == units[u]) return colours[u];
  return "#374151";
}

std::string timeline_svg(const ordered_json& report) {
  const ordered_json& activity = report.at("activity");
  constexpr double left = 70, right = 10, row = 26, width = 1000, top = 6;
  const double height = top + row * units.size() + 26, span = width - left - right;
  Svg svg(width, height, "Activity of each unit over time");
  for (size_t u = 0; u < units.size(); ++u) {
    const double y = top + row * static_cast<double>(u);
    svg.text(left - 8, y + 16, units[u], "end");
    svg.rect(left, y + 2, span, row - 6, "#eef0f3");
    const ordered_json& shares = activity.at(units[u]);
    const double slice = span / static_cast<double>(shares.size());
    // Neighbours that look the same are one rectangle.
    size_t begin = 0;
    const auto level = [&](size_t s) { return std::lround(shares[s].get<double>() * 20); };
    for (size_t s = 1; s <= shares.size(); ++s) {
      if (s < shares.size() && level(s) == level(begin)) continue;
      if (level(begin) > 0)
        svg.rect(left + slice * static_cast<double>(begin), y + 2, slice * static_cast<double>(s - begin),
                 row - 6, unit_colour(units[u]), 0.15 + 0.85 * static_cast<double>(level(begin)) / 20);
      begin = s;
    }
  }
  const double total = report.at("total_time").get<double>(), base = top + row * units.size();
  for (int t = 0; t <= 5; ++t) {
    const double x = left + span * t / 5;
    svg.line(x, top, x, base + 4, grid);
    svg.text(x, base + 18, time_text(total * t / 5), t == 5 ? "end" : "middle");
  }
  return svg.finish();
}

std::string shares_svg(const ordered_json& report) {
  constexpr double left = 70, width = 1000, row = 26, top = 4;
  constexpr std::array<std::array<const char*, 3>, 4> kinds = {
      {{"_engine_active_time_percent", "busy", ""},
       {"_engine_waiting_dma_percent", "waiting for DMA", "#fca5a5"},
       {"_engine_waiting_engine_percent", "waiting for another engine", "#fcd9a0"},
       {"_engine_idle_percent", "idle", "#eef0f3"}}};
  const double span = width - left - 10;
  Svg svg(width, top + row * 5 + 24, "What each engine's time goes to");
  for (size_t u = 0; u + 1 < units.size(); ++u) {
    const double y = top + row * static_cast<double>(u);
    svg.text(left - 8, y + 16, units[u], "end");
    double x = left;
    for (const auto& [key, name, colour] : kinds) {
      const double share = report.at(std::string(units[u]) + key).get<double>(), length = span * share / 100;
      svg.raw("<g><title>" + std::string(units[u]) + " " + name + " " + quantity_text(share) + " %</title>");
      svg.rect(x, y + 2, length, row - 6, *colour ? colour : unit_colour(units[u]));
      svg.raw("</g>");
      if (length > 44) {
        char percent[16];
        std::snprintf(percent, sizeof percent, "%.1f %%", share);
        svg.add("<text x=\"%.2f\" y=\"%.2f\" text-anchor=\"middle\" fill=\"%s\">%s</text>", x + length / 2,
                y + 16, *colour ? "#374151" : "#ffffff", percent);
      }
      x += length;
    }
  }
  double x = left;
  for (const auto& [key, name, colour] : kinds) {
    const double y = top + row * 5 + 8;
    svg.rect(x, y, 12, 12, *colour ? colour : "#374151");
    svg.text(x + 18, y + 10, *colour ? name : "busy (the engine's colour)");
    x += 220;
  }
  return svg.finish();
}

std::string roofline_svg(const ordered_json& report) {
  const ordered_json& roof = report.at("roofline");
  const double peak = roof.at("peak_flops"), bandwidth = roof.at("hbm_bytes_per_second"),
               ridge = peak / bandwidth;
  constexpr double left = 70, bottom = 40, width = 1000, height = 300, top = 12, right = 24;
  struct Point {
    double intensity, flops;
    std::string name;
    std::string unit;
    bool whole;
  };
  std::vector<Point> points;
  for (const ordered_json& node : report.at("nodes")) {
    const double flops = node.at("flops"), bytes = node.at("hbm_bytes"), time = node.at("critical_time");
    if (flops > 0 && bytes > 0 && time > 0)
      points.push_back(
          {flops / bytes, std::min(flops / time, peak), node.at("scope"), node.at("bound_by"), false});
  }
  const double intensity = roof.at("intensity"), achieved = roof.at("achieved_flops");
  if (intensity > 0 && achieved > 0) points.push_back({intensity, achieved, "the whole run", "", true});
  double low_x = ridge / 30, high_x = ridge * 10, low_y = peak / 300;
  for (const Point& p : points) {
    low_x = std::min(low_x, p.intensity / 1.5), high_x = std::max(high_x, p.intensity * 1.5);
    low_y = std::min(low_y, p.flops / 1.5);
  }
  const double high_y = peak * 1.6;
  const auto at_x = [&](double v) {
    return left + (width - left - right) * std::log(v / low_x) / std::log(high_x / low_x);
  };
  const auto at_y = [&](double v) {
    return height - bottom - (height - bottom - top) * std::log(v / low_y) / std::log(high_y / low_y);
  };
  Svg svg(width, height, "Roofline");
  for (double v = std::pow(10, std::ceil(std::log10(low_x))); v <= high_x; v *= 10) {
    svg.line(at_x(v), top, at_x(v), height - bottom, grid);
    svg.text(at_x(v), height - bottom + 16, quantity_text(v), "middle");
  }
  for (double v = std::pow(10, std::ceil(std::log10(low_y))); v <= high_y; v *= 10) {
    svg.line(left, at_y(v), width - right, at_y(v), grid);
    svg.text(left - 8, at_y(v) + 4, quantity_text(v), "end");
  }
  svg.text((left + width - right) / 2, height - 6, "operations per byte of HBM", "middle");
  svg.add(
      "<text transform=\"translate(14 %.0f) rotate(-90)\" text-anchor=\"middle\">operations per "
      "second</text>",
      (height - bottom + top) / 2);
  const double start = std::max(low_x, low_y / bandwidth);
  svg.add(
      "<polyline fill=\"none\" stroke=\"#111827\" stroke-width=\"2\" points=\"%.1f,%.1f %.1f,%.1f "
      "%.1f,%.1f\"/>",
      at_x(start), at_y(start * bandwidth), at_x(ridge), at_y(peak), at_x(high_x), at_y(peak));
  svg.text(at_x(ridge) + 6, at_y(peak) - 6,
           "peak " + quantity_text(peak) + "Op/s, HBM " + quantity_text(bandwidth) + "B/s");
  for (const Point& p : points) {
    svg.add("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\" fill=\"%s\" fill-opacity=\"0.75\" stroke=\"#fff\">",
            at_x(p.intensity), at_y(p.flops), p.whole ? 7 : 4,
            p.whole ? "#111827" : unit_colour(p.unit).c_str());
    svg.raw("<title>" + escaped(p.name) + ": " + quantity_text(p.intensity) + " op/B, " +
            quantity_text(p.flops) + "Op/s</title></circle>");
  }
  return svg.finish();
}

std::string chart_svg(const PageChart& chart) {
  constexpr double left = 76, bottom = 42, width = 1000, height = 300, top = 14, right = 160;
  double low_x = INFINITY, high_x = -INFINITY, low_y = INFINITY, high_y = -INFINITY;
  const auto usable = [](const PageChart::Line& l, size_t i) {
    return std::isfinite(l.x[i]) && std::isfinite(l.y[i]);
  };
  for (const PageChart::Line& l : chart.lines)
    for (size_t i = 0; i < std::min(l.x.size(), l.y.size()); ++i) {
      if (!usable(l, i)) continue;
      low_x = std::min(low_x, l.x[i]), high_x = std::max(high_x, l.x[i]);
      low_y = std::min(low_y, l.y[i]), high_y = std::max(high_y, l.y[i]);
    }
  if (!(low_x <= high_x)) return "<p>No points.</p>\n";
  low_y = std::min(low_y, 0.0);  // lengths mean something only from zero
  if (high_x == low_x) high_x = low_x + 1;
  if (high_y == low_y) high_y = low_y + 1;
  const auto at_x = [&](double v) { return left + (width - left - right) * (v - low_x) / (high_x - low_x); };
  const auto at_y = [&](double v) {
    return height - bottom - (height - bottom - top) * (v - low_y) / (high_y - low_y);
  };
  Svg svg(width, height, chart.title);
  for (const double v : ticks(low_y, high_y, 5)) {
    svg.line(left, at_y(v), width - right, at_y(v), grid);
    svg.text(left - 8, at_y(v) + 4, quantity_text(v), "end");
  }
  for (const double v : ticks(low_x, high_x, 8)) {
    svg.line(at_x(v), height - bottom, at_x(v), height - bottom + 4, axis);
    svg.text(at_x(v), height - bottom + 18, quantity_text(v), "middle");
  }
  svg.line(left, height - bottom, width - right, height - bottom, axis);
  svg.text((left + width - right) / 2, height - 6, chart.x_label, "middle");
  svg.add("<text transform=\"translate(14 %.0f) rotate(-90)\" text-anchor=\"middle\">%s</text>",
          (height - bottom + top) / 2, escaped(chart.y_label).c_str());
  for (size_t n = 0; n < chart.lines.size(); ++n) {
    const PageChart::Line& l = chart.lines[n];
    const std::string& colour = line_colours()[n % line_colours().size()];
    std::string points;
    const size_t count = std::min(l.x.size(), l.y.size());
    for (size_t i = 0; i < count; ++i) {
      if (!usable(l, i)) continue;
      char point[64];
      std::snprintf(point, sizeof point, "%.1f,%.1f ", at_x(l.x[i]), at_y(l.y[i]));
      points += point;
    }
    // Dashes let a line show that lies under another.
    svg.raw(std::string("<polyline fill=\"none\" stroke-width=\"1.8\"") +
            (n % 2 == 1 ? " stroke-dasharray=\"7 5\"" : "") + " stroke=\"" + colour + "\" points=\"" +
            points + "\"/>");
    for (size_t i = 0; i < count && count <= 40; ++i)
      if (usable(l, i))
        svg.add("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>", at_x(l.x[i]), at_y(l.y[i]),
                colour.c_str());
    const double y = top + 10 + 20 * static_cast<double>(n);
    svg.rect(width - right + 14, y - 9, 12, 12, colour);
    svg.text(width - right + 32, y + 1, l.name);
  }
  return svg.finish();
}

}  // namespace heddle::systolic
