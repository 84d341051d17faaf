#include "recovery/restore/work_queue.h"

#include <utility>

namespace tessera::recovery {

void Completions::add(std::function<void()> completion) {
  const std::lock_guard lock(mutex_);
  ready_.push_back(std::move(completion));
  event_.notify_one();
}

void Completions::fail(std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  if (error_ == nullptr) error_ = std::move(error);
  event_.notify_one();
}

bool Completions::run() {
  std::vector<std::function<void()>> ready;
  {
    const std::lock_guard lock(mutex_);
    if (error_ != nullptr) std::rethrow_exception(error_);
    ready.swap(ready_);
  }
  for (const std::function<void()>& completion : ready) completion();
  return !ready.empty();
}

void Completions::wait(std::chrono::microseconds limit) {
  std::unique_lock lock(mutex_);
  event_.wait_for(lock, limit, [&] { return !ready_.empty() || error_ != nullptr; });
}

WorkQueue::~WorkQueue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    tasks_.clear();
  }
  event_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkQueue::add(Task task) {
  const std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  const bool all_busy = static_cast<std::size_t>(waiting_) < tasks_.size();
  if (all_busy && threads_.size() < static_cast<std::size_t>(most_threads_)) {
    threads_.emplace_back([this] { work(); });
  }
  event_.notify_one();
}

void WorkQueue::work() {
  for (;;) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      ++waiting_;
      event_.wait(lock, [&] { return stopping_ || !tasks_.empty(); });
      --waiting_;
      if (stopping_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    try {
      completions_.add(task());
    } catch (...) {
      completions_.fail(std::current_exception());
    }
  }
}

}  // namespace tessera::recovery
