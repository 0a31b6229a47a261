// Pictures of a report as inline SVG.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "heddle/systolic/page.h"

namespace heddle::systolic {

// Text between tags, and in quoted attributes.
std::string escaped(const std::string& text);
// "12.3 us", "4.56 ms": three digits.
std::string time_text(double seconds);
// Three digits and a prefix: "91.8 T", "0.5".
std::string quantity_text(double value);

// Each takes a parsed report (profile.h).
std::string timeline_svg(const nlohmann::ordered_json& report);
std::string roofline_svg(const nlohmann::ordered_json& report);
std::string shares_svg(const nlohmann::ordered_json& report);

std::string chart_svg(const PageChart& chart);

// A colour of its own for each unit: "tensor" ... "dma".
std::string unit_colour(const std::string& unit);

}  // namespace heddle::systolic
