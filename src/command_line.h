// SPDX-License-Identifier: Apache-2.0
// The command line: subcommands, what they take, and what of it was typed. The only place that
// knows CLI11.
// Thread-safety: one thread. Ownership: the places that arguments are stored in belong to the
//   caller and outlive run(); an action keeps them alive by holding them.
// Errors: wrong usage is reported here, with exit code 2; an action's error with 3.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace CLI {
class App;
}

namespace lamina {

enum class ExitCode : int {
  done = 0,
  no = 1,      // the answer is no: damage found, images differ
  usage = 2,   // what was typed makes no sense
  failed = 3,  // it could not be done
};

using Action = std::function<Result<ExitCode>()>;

// A change of size as typed: 10G, +1G or -1G.
struct SizeChange {
  enum class Kind : uint8_t { absolute, grow, shrink } kind = Kind::absolute;
  uint64_t bytes = 0;
};

// What one subcommand takes. Every method returns the command itself.
class Command {
 public:
  explicit Command(CLI::App& app) : app_(app) {}

  Command& word(const std::string& name, std::string& into, const std::string& help);
  Command& optional_word(const std::string& name, std::string& into, const std::string& help);
  Command& words(const std::string& name, std::vector<std::string>& into, const std::string& help,
                 bool at_least_one);
  Command& size(const std::string& name, uint64_t& into, const std::string& help);
  Command& optional_size(const std::string& name, std::optional<uint64_t>& into,
                         const std::string& help);
  Command& size_change(const std::string& name, SizeChange& into, const std::string& help);
  Command& flag(const std::string& name, bool& into, const std::string& help);
  Command& option(const std::string& name, std::string& into, const std::string& value_name,
                  const std::string& help);
  Command& options(const std::string& name, std::vector<std::string>& into,
                   const std::string& value_name, const std::string& help);
  Command& size_option(const std::string& name, uint64_t& into, const std::string& help);
  Command& number_option(const std::string& name, uint32_t& into, const std::string& value_name,
                         const std::string& help);
  Command& json(bool& into);
  // Shown at the end of --help.
  Command& example(const std::string& text);
  Command& action(Action action);

  // Below this one: `blob ls`. The parent then takes nothing itself.
  Command& command(const std::string& name, const std::string& description);

 private:
  friend class CommandLine;
  CLI::App& app_;
  Action action_;
  std::vector<std::unique_ptr<Command>> below_;
};

class CommandLine {
 public:
  CommandLine();
  ~CommandLine();
  Command& command(const std::string& name, const std::string& description);

  // Parses, runs what was asked for, prints errors as "lamina NAME: ..." and returns the exit
  // code of the process.
  int run(int argc, char** argv);

 private:
  std::unique_ptr<CLI::App> app_;
  std::vector<std::unique_ptr<Command>> commands_;
};

}  // namespace lamina
