/// WorkQueue: a few threads that run what they are given, in the order given, beside a thread that must not
/// block. What a task returns runs on that thread, when it asks.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace tessera::recovery {

/// Finished tasks of several queues: what is left to do on the asking thread.
class Completions {
 public:
  void add(std::function<void()> completion);
  void fail(std::exception_ptr error);
  /// Runs those that are there; whether there were any. Rethrows what a task threw.
  bool run();
  /// Until there is one, or for this long.
  void wait(std::chrono::microseconds limit);

 private:
  std::mutex mutex_;
  std::condition_variable event_;
  std::vector<std::function<void()>> ready_;
  std::exception_ptr error_;
};

class WorkQueue {
 public:
  /// Runs on a thread of the queue; what it returns runs in Completions::run().
  using Task = std::function<std::function<void()>()>;

  /// Threads start when there is work for them.
  WorkQueue(int threads, Completions& completions) : completions_(completions), most_threads_(threads) {}
  /// Drops what has not begun, waits for what has.
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;
  void add(Task task);

 private:
  void work();

  Completions& completions_;
  int most_threads_;
  std::mutex mutex_;
  std::condition_variable event_;
  std::deque<Task> tasks_;
  int waiting_ = 0;  // threads
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace tessera::recovery
