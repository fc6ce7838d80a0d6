// SPDX-License-Identifier: Apache-2.0
// Columns for a person to read. Thread-safety: like any value.
#pragma once

#include <string>
#include <vector>

namespace lamina {

class TextTable {
 public:
  enum class Align { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
  };
  explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

  void row(std::vector<std::string> cells);  // as many as there are columns
  std::string text() const;                  // titles and rows, a line each

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace lamina
