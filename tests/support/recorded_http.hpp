// SPDX-License-Identifier: MIT
#pragma once

// Answers of real registries, recorded: tests/vectors/discovery/. Their bodies are as they came out
// of the chunks.

#include <cctype>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <poise/discovery/json/conversation.hpp>

namespace tests {

inline std::string recorded_text(std::string const& name) {
  std::string const here{__FILE__};
  auto const path = here.substr(0, here.rfind("support/")) + "vectors/discovery/" + name;
  std::ifstream file{path, std::ios::binary};
  if (!file) throw std::runtime_error{path + " is missing"};
  return {std::istreambuf_iterator<char>{file}, {}};
}

inline std::vector<std::string> recorded_lines(std::string const& name) {
  std::istringstream text{recorded_text(name)};
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);)
    if (!line.empty()) lines.push_back(line);
  return lines;
}

inline poise::discovery::json::Answer recorded(std::string const& name) {
  auto const text = recorded_text(name);
  std::istringstream lines{text};
  poise::discovery::json::Answer answer;
  std::string line;
  std::getline(lines, line);
  answer.status = std::stoi(line.substr(line.find(' ')));
  while (std::getline(lines, line) && !line.empty() && line != "\r") {
    if (line.back() == '\r') line.pop_back();
    auto const colon = line.find(": ");
    auto key = line.substr(0, colon);
    for (auto& letter : key)
      letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    answer.headers.emplace_back(key, line.substr(colon + 2));
  }
  answer.body = {std::istreambuf_iterator<char>{lines}, {}};
  return answer;
}

}  // namespace tests
