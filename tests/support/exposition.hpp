// SPDX-License-Identifier: MIT
#pragma once

// Reads what Prometheus scrapes, and complains where promtool is silent: duplicate series,
// interleaved families, a TYPE that comes late or twice, buckets that fall, names that are none.

#include <cstddef>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <string_view>

namespace tests {

class Exposition {
 public:
  explicit Exposition(std::string_view text) {
    if (text.empty() || text.back() != '\n') complain("the last line does not end");
    while (!text.empty()) {
      auto const end = text.find('\n');
      line(text.substr(0, end));
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
  }

  /// Empty if all is well.
  [[nodiscard]] std::string const& complaints() const { return complaints_; }
  [[nodiscard]] std::size_t lines() const { return lines_; }
  /// By name and labels as written: `poise_x_total{a="b"}`.
  [[nodiscard]] std::map<std::string, double, std::less<>> const& samples() const {
    return samples_;
  }
  /// True if it is a counter, or belongs to a histogram or summary and only rises.
  [[nodiscard]] bool only_rises(std::string_view series) const {
    auto const name = std::string{series.substr(0, series.find('{'))};
    auto const type = types_.find(family_of(name));
    if (type == types_.end()) return false;
    if (type->second == "counter") return true;
    return name.ends_with("_bucket") || name.ends_with("_count") || name.ends_with("_sum");
  }

 private:
  void complain(std::string const& what) {
    if (complaints_.size() < 2000) complaints_ += what + '\n';
  }

  void line(std::string_view text) {
    ++lines_;
    if (text == "# EOF") return;
    if (text.starts_with("# ")) return metadata(text.substr(2));
    auto const name_end = text.find_first_of("{ ");
    if (name_end == std::string_view::npos) return complain("no sample: " + std::string{text});
    std::string const name{text.substr(0, name_end)};
    auto const labels_end = text[name_end] == '{' ? end_of_labels(text, name_end) : name_end;
    if (labels_end == std::string_view::npos) return complain("labels: " + std::string{text});
    std::string const series{text.substr(0, labels_end)};
    if (labels_end >= text.size() || text[labels_end] != ' ')
      return complain("no value: " + std::string{text});
    std::string const number{text.substr(labels_end + 1)};
    char* stop = nullptr;
    auto const value = std::strtod(number.c_str(), &stop);
    if (number.empty() || *stop != '\0') complain("no number: " + std::string{text});
    if (!samples_.emplace(series, value).second) complain("twice: " + series);
    if (family_of(name) != family_) complain("not within its family: " + series);
    if (name.ends_with("_bucket")) bucket(series, value);
  }

  void metadata(std::string_view text) {
    auto const kind = text.substr(0, text.find(' '));
    text.remove_prefix(kind.size() + 1);
    std::string const name{text.substr(0, text.find(' '))};
    if (kind == "TYPE") {
      if (!types_.emplace(name, text.substr(name.size() + 1)).second)
        complain("a family twice: " + name);
      family_ = name;
      last_bucket_ = -1;
    } else if (kind == "HELP" || kind == "UNIT") {
      if (name != family_) complain("metadata elsewhere: " + name);
    } else {
      complain("a comment: " + std::string{kind});
    }
  }

  /// Buckets of a series follow each other; only their `le` differs, and comes last.
  void bucket(std::string const& series, double value) {
    auto const le = series.rfind("le=\"");
    if (le == std::string::npos) return complain("a bucket without le: " + series);
    auto const labels = series.substr(0, le);
    if (labels != last_labels_) last_bucket_ = -1;
    if (value < last_bucket_) complain("a bucket falls: " + series);
    last_bucket_ = value;
    last_labels_ = labels;
  }

  static std::size_t end_of_labels(std::string_view text, std::size_t at) {
    bool quoted = false;
    for (++at; at < text.size(); ++at) {
      if (quoted && text[at] == '\\') {
        if (++at >= text.size() || (text[at] != '\\' && text[at] != '"' && text[at] != 'n'))
          return std::string_view::npos;
      } else if (text[at] == '"') {
        quoted = !quoted;
      } else if (!quoted && text[at] == '}') {
        return at + 1;
      }
    }
    return std::string_view::npos;
  }

  [[nodiscard]] std::string family_of(std::string const& name) const {
    if (types_.contains(name)) return name;
    for (std::string_view const suffix : {"_bucket", "_sum", "_count", "_total"})
      if (name.ends_with(suffix) && types_.contains(name.substr(0, name.size() - suffix.size())))
        return name.substr(0, name.size() - suffix.size());
    return {};
  }

  std::string complaints_;
  std::size_t lines_ = 0;
  std::map<std::string, double, std::less<>> samples_;
  std::map<std::string, std::string> types_;
  std::string family_;
  std::string last_labels_;
  double last_bucket_ = -1;
};

}  // namespace tests
