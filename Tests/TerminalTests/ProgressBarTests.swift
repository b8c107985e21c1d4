import Foundation
import Terminal
import Testing

/// An output that keeps what is written, with a clock that stands until it is moved. Tests use it from one thread.
private final class Recorder: @unchecked Sendable {
  private let lock = NSLock()
  private var text = ""
  private var time = 0.0

  func output(isTerminal: Bool, columns: Int = 80) -> Output {
    Output(
      isTerminal: isTerminal, style: Style(isColored: false), columns: { columns },
      write: { new in self.lock.withLock { self.text += new } }, seconds: { self.lock.withLock { self.time } })
  }

  func pass(_ seconds: Double) { lock.withLock { time += seconds } }

  func taken() -> String {
    lock.withLock {
      defer { text = "" }
      return text
    }
  }
}

@Suite struct ProgressBarTests {
  @Test func oneLineIsRewrittenOnATerminal() {
    let recorder = Recorder()
    var bar = ProgressBar("training", total: 90, output: recorder.output(isTerminal: true, columns: 60))
    recorder.pass(45)
    bar.update(step: 45, loss: 1.23449, tokensPerSecond: 512.4)
    let shown = recorder.taken()
    #expect(shown == "\r\u{1B}[2Ktraining ━━━━──── 45/90  loss 1.234  512 tokens/s  45s left")
    #expect(shown.dropFirst(5).displayWidth <= 59)
    bar.update(46)
    #expect(recorder.taken() == "")
    bar.log("a line")
    #expect(recorder.taken().hasPrefix("\r\u{1B}[2Ka line\n\r\u{1B}[2Ktraining"))
    recorder.pass(45)
    bar.update(90)
    bar.finish()
    #expect(recorder.taken().hasSuffix("90/90  loss 1.234  512 tokens/s  in 1m30s\n"))
  }

  @Test func plainLinesComeSeldomElsewhere() {
    let recorder = Recorder()
    var bar = ProgressBar("訓練", total: 100, output: recorder.output(isTerminal: false))
    for step in 1...100 {
      recorder.pass(1)
      bar.update(step: step, loss: 2, tokensPerSecond: 30)
    }
    bar.finish()
    let lines = recorder.taken().split(separator: "\n")
    #expect(lines.count == 21)
    #expect(lines.first == "訓練  1/100  loss 2.000  30 tokens/s  1m39s left")
    #expect(lines.dropLast().allSatisfy { !$0.contains("100/100") })
    #expect(lines.last == "訓練  100/100  loss 2.000  30 tokens/s  in 1m40s")
  }

  @Test func oddCountsAreHarmless() {
    let recorder = Recorder()
    for (total, done) in [(0, 0), (0, 5), (-3, 2), (10, 20), (10, -5), (Int.max, 1)] {
      for columns in [0, 1, 10, 200] {
        var bar = ProgressBar("x", total: total, output: recorder.output(isTerminal: true, columns: columns))
        recorder.pass(1)
        bar.update(step: done, loss: .nan, tokensPerSecond: .infinity)
        bar.finish()
      }
    }
    #expect(!recorder.taken().isEmpty)
  }

  @Test func aResumedRunCountsItsOwnStepsOnly() {
    let recorder = Recorder()
    var bar = ProgressBar("t", total: 100, done: 80, output: recorder.output(isTerminal: false))
    recorder.pass(10)
    bar.update(90)
    #expect(recorder.taken() == "t  90/100  10s left\n")
  }
}
