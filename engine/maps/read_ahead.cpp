// SPDX-License-Identifier: Apache-2.0
#include "engine/maps/read_ahead.h"

#include "base/check.h"

namespace lamina {

void ReadAhead::start(NodeId id, const NodeEntry& entry) {
  auto read = std::make_shared<Read>();
  reads_.push_back(read);
  if (NodeBlock block = store_.try_get(entry, keep_)) {
    read->result = std::move(block);
    read->done.signal();
    return;
  }
  spawn(run(store_, std::move(read), id, entry, keep_));
}

Task<void> ReadAhead::run(NodeStore& store, std::shared_ptr<Read> read, NodeId id, NodeEntry entry,
                          bool keep) {
  Task<Result<NodeBlock>> reading = store.get(id, entry, keep);
  read->result = co_await reading;
  read->done.signal();
}

Task<Result<NodeBlock>> ReadAhead::take() {
  LAMINA_CHECK(!reads_.empty());
  const std::shared_ptr<Read> read = std::move(reads_.front());
  reads_.pop_front();
  co_await read->done;
  co_return std::move(read->result);
}

Task<void> ReadAhead::drain() {
  while (!reads_.empty()) {
    const std::shared_ptr<Read> read = std::move(reads_.front());
    reads_.pop_front();
    co_await read->done;
  }
}

}  // namespace lamina
