// Threads that share out the parts of one operation. The caller takes part, so that work goes on when all threads are
// busy with another operation's parts; who has nothing to do sleeps.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace gqa {

class Pool {
 public:
  // One for the process, never taken down: its threads may outlive everything else.
  static Pool& shared();

  // How many there are, or will be: as many as TensorFlow takes for one operation.
  static int threads();

  // Threads that work at once, the caller among them.
  int size() const { return size_; }

  // f(0) … f(parts − 1), in any order and on any thread; comes back when all are done.
  template <class F>
  void run(int parts, const F& f) {
    if (parts <= 1 || size_ == 1) {
      for (int i = 0; i < parts; i++) f(i);
      return;
    }
    Job job{[](const void* body, int part) { (*static_cast<const F*>(body))(part); }, &f, parts};
    share(job);
  }

 private:
  struct Job {
    void (*call)(const void* body, int part);
    const void* body;
    int parts;
    std::atomic<int> next{0};
    std::atomic<int> open;     // parts that are not done
    int visitors = 0;          // threads that look at the job; guarded by the pool's mutex
    Job(void (*call)(const void*, int), const void* body, int parts)
        : call(call), body(body), parts(parts), open(parts) {}
  };

  Pool();
  void share(Job& job);
  void work(Job& job);
  void serve();
  Job* waiting();

  int size_;
  std::mutex mutex_;
  std::condition_variable arrived_;  // a job with parts to take
  std::condition_variable left_;     // a thread is done with a job
  std::vector<Job*> jobs_;
};

}  // namespace gqa
