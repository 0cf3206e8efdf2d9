// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include <unistd.h>

namespace tests {

/// A file of this process with this text, removed at the end; one at a time.
class TextFile {
 public:
  explicit TextFile(std::string const& text) { write(text); }
  TextFile(TextFile const&) = delete;
  TextFile& operator=(TextFile const&) = delete;
  ~TextFile() { std::filesystem::remove(path); }
  void write(std::string const& text) const { std::ofstream{path} << text; }

  std::string const path =
      std::filesystem::temp_directory_path() / ("poise_test_" + std::to_string(::getpid()));
};

}  // namespace tests
