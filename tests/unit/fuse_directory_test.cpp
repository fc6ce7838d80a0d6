// SPDX-License-Identifier: Apache-2.0
// Listings, and the directory that is not in them.
#include <fcntl.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "fuse/virtual_files.h"
#include "fuse_test_pool.h"

namespace lamina {
namespace {

class Directory : public MountedPool {
 protected:
  struct Entry {
    std::string name;
    uint64_t cookie;
    fuse_entry_out entry;
  };
  std::vector<Entry> list_from(uint64_t inode, uint64_t offset, uint32_t bytes, bool plus) {
    fuse_read_in in{};
    in.offset = offset;
    in.size = bytes;
    const Reply reply = ask(plus ? FUSE_READDIRPLUS : FUSE_READDIR, inode, in);
    EXPECT_EQ(reply.error, 0);
    EXPECT_LE(reply.bytes.size(), bytes);
    std::vector<Entry> entries;
    for (size_t at = 0; at < reply.bytes.size();) {
      Entry e{};
      const size_t begin = at;
      if (plus) {
        e.entry = reply.as<fuse_entry_out>(at);
        at += sizeof(fuse_entry_out);
      }
      const uint32_t length = reply.as<uint32_t>(at + offsetof(fuse_dirent, namelen));
      e.cookie = reply.as<uint64_t>(at + offsetof(fuse_dirent, off));
      at += FUSE_NAME_OFFSET;
      e.name = reply.bytes.substr(at, length);
      at = begin + round_up(at + length - begin, 8);
      entries.push_back(e);
    }
    return entries;
  }
  std::multiset<std::string> list_all(uint64_t inode, uint32_t bytes, bool plus) {
    std::multiset<std::string> names;
    for (uint64_t offset = 0;;) {
      const std::vector<Entry> entries = list_from(inode, offset, bytes, plus);
      if (entries.empty()) return names;
      for (const Entry& e : entries) names.insert(e.name);
      offset = entries.back().cookie;
    }
  }
};

TEST_F(Directory, EveryDeviceIsListedOnceHoweverSmallTheBuffer) {
  std::multiset<std::string> expected{".", ".."};
  for (int i = 0; i < 50; ++i) {
    const std::string name = "device-" + std::to_string(i);
    make(name);
    expected.insert(name);
  }
  for (const bool plus : {false, true})
    for (const uint32_t bytes : {300u, 1000u, 65536u})
      EXPECT_EQ(list_all(root, bytes, plus), expected);
}

TEST_F(Directory, AListingGoesOnAfterWhatWasRemovedMeanwhile) {
  for (int i = 0; i < 20; ++i) make("device-" + std::to_string(i));
  const std::vector<Entry> first = list_from(root, 0, 400, false);
  ASSERT_LT(first.size(), 15u);
  unlink(first.back().name);
  unlink("device-19");
  std::set<std::string> seen;
  for (const Entry& e : first) seen.insert(e.name);
  for (uint64_t offset = first.back().cookie;;) {
    const std::vector<Entry> entries = list_from(root, offset, 400, true);
    if (entries.empty()) break;
    for (const Entry& e : entries) EXPECT_TRUE(seen.insert(e.name).second) << e.name;
    offset = entries.back().cookie;
  }
  EXPECT_EQ(seen.size(), 21u);
  EXPECT_FALSE(seen.contains("device-19"));
}

TEST_F(Directory, TheKernelIsNotToldToLookUpDots) {
  const uint64_t inode = make("a", 12345);
  for (const Entry& e : list_from(root, 0, 4096, true)) {
    EXPECT_EQ(e.entry.nodeid, e.name == "a" ? inode : 0);
    if (e.name == "a") {
      EXPECT_EQ(e.entry.attr.size, 12345u);
    }
  }
}

TEST_F(Directory, DotLaminaIsFoundAndNotListed) {
  const uint64_t dot = lookup(".lamina").as<fuse_entry_out>().nodeid;
  EXPECT_EQ(dot, raw(control_directory));
  EXPECT_EQ(list_all(root, 4096, false).count(".lamina"), 0u);
  const std::multiset<std::string> files{
      ".", "..", "status.json", "lamina.prom", "lost", "version", "check.json"};
  EXPECT_EQ(list_all(dot, 4096, false), files);
  EXPECT_EQ(list_all(dot, 200, true), files);
}

TEST_F(Directory, VirtualFilesTellOfThePool) {
  make("a");
  std::map<std::string, std::string> contents;
  for (const VirtualFile& file : virtual_files) {
    const fuse_entry_out entry = lookup(file.name, raw(control_directory)).as<fuse_entry_out>();
    EXPECT_EQ(entry.nodeid, raw(file.inode));
    EXPECT_EQ(entry.attr_valid, 0u);
    const uint64_t handle = open_file(entry.nodeid, O_RDONLY).as<fuse_open_out>().fh;
    std::string text;
    for (;;) {  // in pieces, which must fit together
      const std::string piece = read(entry.nodeid, text.size(), 100, handle).bytes;
      if (piece.empty()) break;
      text += piece;
    }
    EXPECT_EQ(release(entry.nodeid, O_RDONLY, handle).error, 0);
    contents[std::string(file.name)] = text;
  }
  EXPECT_EQ(contents["version"], "1.2.3\n");
  EXPECT_EQ(contents["lost"], "");
  EXPECT_NE(contents["check.json"].find("\"verdict\": null"), std::string::npos)  // none yet
      << contents["check.json"];
  EXPECT_NE(contents["lamina.prom"].find("\nlamina_devices{pool=\"tests\"} 1\n"),
            std::string::npos);
  const auto status = nlohmann::json::parse(contents["status.json"]);
  EXPECT_EQ(status["pool"], "tests");
  EXPECT_EQ(status["devices"], 1);
  EXPECT_EQ(status["health"], "ok");
  EXPECT_EQ(status["blobs"][0]["name"], "fast");
  EXPECT_TRUE(status["kernel"]["features"].contains("multishot"));
}

TEST_F(Directory, AHandleOfADaemonThatIsGoneStillReads) {
  EXPECT_EQ(read(raw(version_inode), 0, 100, 987654).bytes, "1.2.3\n");
}

TEST_F(Directory, VirtualFilesCannotBeChanged) {
  EXPECT_EQ(open_file(raw(version_inode), O_RDWR).error, EACCES);
  EXPECT_EQ(write(raw(version_inode), 0, "x").error, EPERM);
  fuse_setattr_in in{};
  in.valid = FATTR_SIZE;
  EXPECT_EQ(ask(FUSE_SETATTR, raw(version_inode), in).error, EPERM);
  EXPECT_EQ(ask(FUSE_UNLINK, raw(control_directory), std::string_view(zero_ended("version"))).error,
            EPERM);
  fuse_mknod_in node{};
  node.mode = 0100600;
  EXPECT_EQ(ask(FUSE_MKNOD, raw(control_directory), node, zero_ended("x")).error, EPERM);
}

}  // namespace
}  // namespace lamina
