import Terminal
import Testing

@Suite struct ProgressBarTests {
  @Test func redrawsOneLineOnATerminal() {
    let recorder = Recorder()
    var bar = ProgressBar("training", total: 90, output: recorder.output(isTerminal: true, columns: 60))
    recorder.wait(45)
    bar.update(step: 45, loss: 1.23449, tokensPerSecond: 512.4)
    let shown = recorder.take()
    #expect(shown == "\r\u{1B}[2Ktraining ━━━━──── 45/90  loss 1.234  512 tokens/s  45s left")
    #expect(shown.dropFirst(5).displayWidth <= 59)
    bar.update(46)
    #expect(recorder.take() == "")
    bar.log("a line")
    #expect(recorder.take().hasPrefix("\r\u{1B}[2Ka line\n\r\u{1B}[2Ktraining"))
    recorder.wait(45)
    bar.update(90)
    bar.finish()
    #expect(recorder.take().hasSuffix("90/90  loss 1.234  512 tokens/s  in 1m30s\n"))
  }

  @Test func printsALineEveryFiveSecondsElsewhere() {
    let recorder = Recorder()
    var bar = ProgressBar("訓練", total: 100, output: recorder.output(isTerminal: false))
    for step in 1...100 {
      recorder.wait(1)
      bar.update(step: step, loss: 2, tokensPerSecond: 30)
    }
    bar.finish()
    let lines = recorder.take().split(separator: "\n")
    #expect(lines.count == 21)
    #expect(lines.first == "訓練  1/100  loss 2.000  30 tokens/s  1m39s left")
    #expect(lines.dropLast().allSatisfy { !$0.contains("100/100") })
    #expect(lines.last == "訓練  100/100  loss 2.000  30 tokens/s  in 1m40s")
  }

  @Test func toleratesOddCounts() {
    let recorder = Recorder()
    for (total, done) in [(0, 0), (0, 5), (-3, 2), (10, 20), (10, -5), (Int.max, 1)] {
      for columns in [0, 1, 10, 200] {
        var bar = ProgressBar("x", total: total, output: recorder.output(isTerminal: true, columns: columns))
        recorder.wait(1)
        bar.update(step: done, loss: .nan, tokensPerSecond: .infinity)
        bar.finish()
      }
    }
    #expect(!recorder.take().isEmpty)
  }

  @Test func measuresTheRateOfAResumedRunFromItsFirstStep() {
    let recorder = Recorder()
    var bar = ProgressBar("t", total: 100, done: 80, output: recorder.output(isTerminal: false))
    recorder.wait(10)
    bar.update(90)
    #expect(recorder.take() == "t  90/100  10s left\n")
  }

  @Test func showsRatesOfItemsAndBytes() {
    let recorder = Recorder()
    var rows = ProgressBar("rows", total: 5000, quantity: .items("rows"), output: recorder.output(isTerminal: false))
    recorder.wait(10)
    rows.update(1000)
    #expect(recorder.take() == "rows  1000/5000  100 rows/s  40s left\n")
    var bytes = ProgressBar("merging", total: 0, quantity: .bytes, output: recorder.output(isTerminal: false))
    recorder.wait(10)
    bytes.update(1_200_000_000, total: 3_600_000_000)
    #expect(recorder.take() == "merging  1.20 GB of 3.60 GB  120 MB/s  20s left\n")
    recorder.wait(20)
    bytes.update(3_600_000_000)
    bytes.finish()
    #expect(recorder.take() == "merging  3.60 GB of 3.60 GB  120 MB/s  in 30s\n")
  }

  @Test func aDelayedBarIgnoresShortWork() {
    let recorder = Recorder()
    var bar = ProgressBar("x", total: 10, delay: 2, output: recorder.output(isTerminal: true))
    recorder.wait(1.9)
    bar.update(9)
    bar.finish()
    #expect(recorder.take() == "")
    recorder.wait(0.2)
    bar.update(9)
    #expect(recorder.take().contains("9/10"))
  }

  @Test func labelsMetricsAndLogsCannotControlTheTerminal() {
    let recorder = Recorder()
    var bar = ProgressBar("a\u{1B}[2J", total: 2, output: recorder.output(isTerminal: false))
    bar.update(1, metrics: ["b\u{7}"])
    bar.log("c\u{1B}]0;d")
    bar.finish()
    #expect(!recorder.take().contains { $0 == "\u{1B}" || $0 == "\u{7}" })
  }
}
