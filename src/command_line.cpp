// SPDX-License-Identifier: Apache-2.0
#include "command_line.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "config/quantity.h"
#include "version.h"

namespace lamina {
namespace {

std::string check_size(const std::string& text) {
  const auto size = parse_size(text);
  return size ? std::string() : size.error().message;
}

bool is_sign(char c) {
  return c == '+' || c == '-';
}

std::string check_size_change(const std::string& text) {
  return check_size(!text.empty() && is_sign(text[0]) ? text.substr(1) : text);
}

SizeChange parse_size_change(const std::string& text) {
  SizeChange change;
  if (text[0] == '+') change.kind = SizeChange::Kind::grow;
  if (text[0] == '-') change.kind = SizeChange::Kind::shrink;
  change.bytes = parse_size(is_sign(text[0]) ? text.substr(1) : text).value();
  return change;
}

// "-1G" would be taken for an option: such words go behind a "--", where everything is a word.
std::vector<std::string> with_negative_sizes_last(int argc, char** argv) {
  std::vector<std::string> options, negative;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool is_negative_size =
        word.size() > 1 && word[0] == '-' && word[1] >= '0' && word[1] <= '9';
    if (word == "--") {  // typed by the user: leave everything as it is
      options.assign(argv + 1, argv + argc);
      return options;
    }
    (is_negative_size ? negative : options).push_back(word);
  }
  if (!negative.empty()) options.push_back("--");
  options.insert(options.end(), negative.begin(), negative.end());
  return options;
}

void report(const std::string& command, const Error& error) {
  std::fflush(stdout);
  std::fprintf(stderr, "lamina %s: %s\n", command.c_str(), error.message.c_str());
}

}  // namespace

Command& Command::word(const std::string& name, std::string& into, const std::string& help) {
  app_.add_option(name, into, help)->required()->type_name("");
  return *this;
}

Command& Command::optional_word(const std::string& name, std::string& into,
                                const std::string& help) {
  app_.add_option(name, into, help)->type_name("");
  return *this;
}

Command& Command::words(const std::string& name, std::vector<std::string>& into,
                        const std::string& help, bool at_least_one) {
  auto* option = app_.add_option(name, into, help)->type_name("");
  if (at_least_one) option->required();
  return *this;
}

Command& Command::size(const std::string& name, uint64_t& into, const std::string& help) {
  app_.add_option_function<std::string>(
          name, [&into](const std::string& text) { into = parse_size(text).value(); }, help)
      ->required()
      ->check(check_size)
      ->type_name("");
  return *this;
}

Command& Command::optional_size(const std::string& name, std::optional<uint64_t>& into,
                                const std::string& help) {
  app_.add_option_function<std::string>(
          name, [&into](const std::string& text) { into = parse_size(text).value(); }, help)
      ->check(check_size)
      ->type_name("");
  return *this;
}

Command& Command::size_change(const std::string& name, SizeChange& into, const std::string& help) {
  app_.add_option_function<std::string>(
          name, [&into](const std::string& text) { into = parse_size_change(text); }, help)
      ->required()
      ->check(check_size_change)
      ->type_name("");
  return *this;
}

Command& Command::flag(const std::string& name, bool& into, const std::string& help) {
  app_.add_flag(name, into, help);
  return *this;
}

Command& Command::option(const std::string& name, std::string& into, const std::string& value_name,
                         const std::string& help) {
  app_.add_option(name, into, help)->type_name(value_name);
  return *this;
}

Command& Command::options(const std::string& name, std::vector<std::string>& into,
                          const std::string& value_name, const std::string& help) {
  app_.add_option(name, into, help)
      ->type_name(value_name)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  return *this;
}

Command& Command::size_option(const std::string& name, uint64_t& into, const std::string& help) {
  app_.add_option_function<std::string>(
          name, [&into](const std::string& text) { into = parse_size(text).value(); }, help)
      ->check(check_size)
      ->type_name("SIZE");
  return *this;
}

Command& Command::number_option(const std::string& name, uint32_t& into,
                                const std::string& value_name, const std::string& help) {
  app_.add_option(name, into, help)->type_name(value_name);
  return *this;
}

Command& Command::json(bool& into) {
  return flag("--json", into, "Print the facts as JSON");
}

Command& Command::example(const std::string& text) {
  app_.footer("Example:\n  " + text);
  return *this;
}

Command& Command::action(Action action) {
  action_ = std::move(action);
  return *this;
}

Command& Command::command(const std::string& name, const std::string& description) {
  CLI::App* app = app_.add_subcommand(name, description);
  app_.require_subcommand(1);
  below_.push_back(std::make_unique<Command>(*app));
  return *below_.back();
}

CommandLine::CommandLine()
    : app_(std::make_unique<CLI::App>("Thin provisioning as files.", "lamina")) {
  app_->require_subcommand(1);
  app_->set_version_flag("--version", LAMINA_VERSION);
  app_->footer(
      "Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 it could not be done.\n"
      "Each subcommand has --help with an example.");
}

CommandLine::~CommandLine() = default;

Command& CommandLine::command(const std::string& name, const std::string& description) {
  commands_.push_back(std::make_unique<Command>(*app_->add_subcommand(name, description)));
  return *commands_.back();
}

int CommandLine::run(int argc, char** argv) {
  std::vector<std::string> words = with_negative_sizes_last(argc, argv);
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
  try {
    app_->parse(words);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app_->exit(error);  // --help, --version
    std::string name = "lamina";
    const CLI::App* at = app_.get();
    while (!at->get_subcommands().empty()) {
      at = at->get_subcommands().front();
      name += " " + at->get_name();
    }
    std::fprintf(stderr, "%s: %s\n%s --help says what it takes\n", name.c_str(), error.what(),
                 name.c_str());
    return static_cast<int>(ExitCode::usage);
  }
  const std::vector<std::unique_ptr<Command>>* level = &commands_;
  std::string name;
  while (true) {
    const Command* chosen = nullptr;
    for (const auto& command : *level)
      if (command->app_.parsed()) chosen = command.get();
    name += (name.empty() ? "" : " ") + chosen->app_.get_name();
    if (chosen->action_) {
      const auto code = chosen->action_();
      if (code) return static_cast<int>(*code);
      report(name, code.error());
      return static_cast<int>(ExitCode::failed);
    }
    level = &chosen->below_;
  }
}

}  // namespace lamina
