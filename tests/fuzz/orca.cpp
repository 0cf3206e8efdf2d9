// SPDX-License-Identifier: MIT
// Load reports from headers: whatever comes, it is a valid report or an error that can be shown,
// and a report that was read can be written and read again.
//
// An input is the value of the text header, that of the binary one, and a message of protobuf.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <poise/error.hpp>
#include <poise/orca/header.hpp>
#include <poise/orca/json.hpp>
#include <poise/orca/writer.hpp>

#include "fuzz.hpp"

namespace {

using namespace poise::orca;
using tests::require;

void check_text(Report const& report) {
  std::string text;
  try {
    text = to_header(report);
  } catch (poise::ConfigError const&) {  // a name that TEXT does not have
    return;
  }
  std::string error;
  require(read_header(text_header, text, error) == report, "TEXT that was written is read");
}

void check(std::optional<Report> const& report, std::string const& error) {
  require(report.has_value() == error.empty(), "there is a report or an error");
  require(error.size() < 1000, "an error is short");
  if (!report) return;
  std::size_t const metrics =
      report->request_cost.size() + report->utilizations.size() + report->named_metrics.size();
  require(report->is_valid() && metrics <= max_metrics, "a report is valid");
  std::string again;
  require(read_binary(to_binary(*report), again) == report, "a message that was written is read");
  check_text(*report);
}

}  // namespace

void tests::fuzz(std::string_view input) {
  std::string error;
  auto report = read_header(text_header, input, error, read_json);
  check(report, error);
  report = read_header(binary_header, input, error);
  check(report, error);
  report = read_binary(input, error);
  check(report, error);
}
