// SPDX-License-Identifier: Apache-2.0
#include "open_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace lamina {
namespace {

namespace fs = std::filesystem;

bool is_number(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// The links of one process that name files: what is open, and where it is.
std::vector<fs::path> links_of(const fs::path& process) {
  std::vector<fs::path> links{process / "cwd", process / "root"};
  for (const char* folder : {"fd", "map_files"}) {
    std::error_code error;
    for (fs::directory_iterator entry(process / folder, error), end; !error && entry != end;
         entry.increment(error))
      links.push_back(entry->path());
  }
  return links;
}

template <class Wanted>
std::vector<FileUser> users_where(Wanted wanted) {
  std::vector<FileUser> users;
  std::error_code error;
  for (fs::directory_iterator process("/proc", error), end; !error && process != end;
       process.increment(error)) {
    const std::string number = process->path().filename();
    if (!is_number(number) || std::stol(number) == getpid()) continue;
    for (const fs::path& link : links_of(process->path())) {
      struct stat status {};
      if (stat(link.c_str(), &status) != 0 || !wanted(status)) continue;
      std::error_code ignored;
      FileUser user{static_cast<pid_t>(std::stol(number)), "", fs::read_symlink(link, ignored)};
      std::ifstream(process->path() / "comm") >> user.command;
      users.push_back(std::move(user));
      break;  // one line a process is enough
    }
  }
  return users;
}

}  // namespace

std::vector<FileUser> users_of_files(dev_t device, std::optional<ino_t> inode) {
  return users_where([&](const struct stat& status) {
    return status.st_dev == device && (!inode || status.st_ino == *inode);
  });
}

std::vector<FileUser> users_of_block_device(dev_t number) {
  return users_where([&](const struct stat& status) {
    return S_ISBLK(status.st_mode) && status.st_rdev == number;
  });
}

}  // namespace lamina
