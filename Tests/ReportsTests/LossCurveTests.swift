import Reports
import TestSupport
import Training
import Foundation
import Testing

@Suite struct LossCurveTests {
  static func curve(_ count: Int, title: String = "Yoda-speak") -> LossCurve {
    let training = (0..<count).map { index in
      let step = Double(index + 1)
      return LossCurve.Point(step: 5 * (index + 1), loss: 0.9 + 2.4 / (1 + step / 9) + 0.14 * sin(step * 12.9898))
    }
    let evaluation = stride(from: 0, to: count, by: max(1, count / 6)).map { index in
      LossCurve.Point(step: 5 * (index + 1), loss: 1.05 + 2.3 / (1 + Double(index + 1) / 9))
    }
    return LossCurve(
      title: title, subtitle: "SmolLM2-135M-Instruct, LoRA r=16 on all linear layers, 2 epochs", training: training,
      evaluation: evaluation)
  }

  static let odd: [LossCurve] = [
    LossCurve(title: "", training: []),
    LossCurve(title: "one", training: [.init(step: 1, loss: 2)]),
    LossCurve(title: "flat", training: [.init(step: 1, loss: 0), .init(step: 2, loss: 0)]),
    LossCurve(title: "not finite", training: [.init(step: 1, loss: .nan), .init(step: 2, loss: .infinity)]),
    LossCurve(title: "huge", training: [.init(step: 0, loss: -1e300), .init(step: .max, loss: 1e300)]),
    LossCurve(title: "tiny", training: [.init(step: 1, loss: 1e-300), .init(step: 2, loss: 2e-300)]),
    LossCurve(title: String(repeating: "很長的標題🙂", count: 100), training: [.init(step: 1, loss: 1)]),
    LossCurve(title: "a\u{0}b\nc", training: [.init(step: 1, loss: 1e-5), .init(step: 2, loss: 1.1e-5)]),
  ]

  @Test func pngAndSVGShowTheSame() throws {
    let curve = Self.curve(60)
    let png = try #require(curve.png())
    #expect(png.starts(with: [0x89, 0x50, 0x4E, 0x47]))
    #expect(Array(png[16..<24]) == [0, 0, 0x07, 0x80, 0, 0, 0x04, 0x60])  // 1920 by 1120
    let svg = String(decoding: try #require(curve.svg()), as: UTF8.self)
    #expect(svg.contains("<svg") && svg.contains("</svg>"))
    #expect(curve.png() == png)
  }

  /// Title, axes and legend are in their usual places, and the points where the axes say.
  @Test func thePlotShowsTheLosses() throws {
    let training = [1, 2, 4, 8].map { LossCurve.Point(step: $0, loss: 4 / Double($0)) }
    let validation = [LossCurve.Point(step: 4, loss: 2), LossCurve.Point(step: 8, loss: 1.5)]
    let curve = LossCurve(title: "Yoda-speak", subtitle: "LoRA r=8", training: training, evaluation: validation)
    let (bytes, canvas) = try #require(curve.drawing(.svg))
    let texts = canvas.texts.map(\.text)
    #expect(texts.contains("Yoda-speak") && texts.contains("LoRA r=8"))
    #expect(texts.contains("optimizer step") && texts.contains("loss (nats per token)"))
    #expect(texts.contains("training") && texts.contains("validation, 1.500 at the end"))

    // Both axes are linear: two ticks of each give the scale.
    func scale(_ isTick: (String, Double, Double) -> Bool, _ place: (Double, Double) -> Double) throws
      -> (Double) -> Double
    {
      let ticks = canvas.texts.filter { isTick($0.text, $0.x, $0.y) }.compactMap { text in
        Double(text.text).map { (value: $0, place: place(text.x, text.y)) }
      }
      let (low, high) = try (
        #require(ticks.min { $0.value < $1.value }), #require(ticks.max { $0.value < $1.value })
      )
      #expect(high.value > low.value)
      return { low.place + ($0 - low.value) / (high.value - low.value) * (high.place - low.place) }
    }
    let bottom = try #require(canvas.texts.filter { Double($0.text) != nil }.map(\.y).max())
    let x = try scale({ _, _, y in y == bottom }, { x, _ in x })
    // The baselines of labels are 4.5 points below their grid lines.
    let y = try scale({ _, _, y in y < bottom }, { _, y in y - 4.5 })
    for points in [training, validation] {
      let expected = points.map { (x: x(Double($0.step)), y: y($0.loss)) }
      let found = canvas.lines.contains { line in
        line.count == expected.count
          && zip(line, expected).allSatisfy { abs($0.x - $1.x) < 0.01 && abs($0.y - $1.y) < 0.01 }
      }
      #expect(found, "\(points)")
    }

    // The SVG has the same lines.
    let svg = String(decoding: bytes, as: UTF8.self)
    let paths = svg.matches(of: /\sd="(M [^"Z]*)"/).map { match in
      match.1.split(whereSeparator: { " MLC".contains($0) }).compactMap { Double($0) }
    }
    for line in canvas.lines where line.count == 4 {
      let numbers = line.flatMap { [$0.x, $0.y] }
      let found = paths.contains { path in
        path.count == numbers.count && zip(path, numbers).allSatisfy { abs($0 - $1) < 0.01 }
      }
      #expect(found, "\(numbers)")
    }
  }

  /// The first and last tick of both axes enclose all points, the validation loss before training included.
  @Test func theAxesCoverEveryPoint() throws {
    var curve = LossCurve(
      title: "", training: [.init(step: 11, loss: 3.97), .init(step: 23, loss: 0.02)],
      evaluation: [.init(step: 23, loss: 1)])
    curve.add(lossBefore: 6.446)
    #expect(curve.evaluation.first == .init(step: 0, loss: 6.446))
    curve.add(lossBefore: 9)
    #expect(curve.evaluation.count == 2)
    curve.apply(LossCurveLabels(title: "mine", xLabel: "steps", yLabel: "training loss"))
    let (_, canvas) = try #require(curve.drawing(.svg))
    let texts = canvas.texts.map(\.text)
    #expect(texts.contains("mine") && texts.contains("steps") && texts.contains("training loss"))
    #expect(!texts.contains("optimizer step"))
    let ticks = canvas.texts.compactMap { text in Double(text.text).map { (value: $0, y: text.y) } }
    let bottom = try #require(ticks.map(\.y).max())
    let steps = ticks.filter { $0.y == bottom }.map(\.value)
    let losses = ticks.filter { $0.y < bottom }.map(\.value)
    #expect(try #require(steps.min()) <= 0 && #require(steps.max()) >= 23)
    #expect(try #require(losses.min()) <= 0.02 && #require(losses.max()) >= 6.446)
  }

  @Test(arguments: odd) func oddLogsAreDrawn(curve: LossCurve) {
    #expect(curve.png() != nil)
    #expect(curve.svg() != nil)
  }

  @Test func pointsAreThoseOfTheLog() {
    var state = TrainerState()
    state.append(
      TrainingLog(step: 10, epoch: 0.2, loss: 2.5, gradNorm: 1.25, learningRate: 2e-5, numTokens: 900, elapsed: 3.5))
    state.append(EvaluationLog(step: 10, epoch: 0.2, loss: 2.4, tokens: 100, runtime: 0.5))
    state.append(EvaluationLog(step: 20, epoch: 0.4, loss: 2.6, tokens: 100, runtime: 0.5))
    let curve = LossCurve(title: "", state: state)
    #expect(curve.training == [.init(step: 10, loss: 2.5)])
    #expect(curve.evaluation == [.init(step: 10, loss: 2.4), .init(step: 20, loss: 2.6)])
  }

  @Test func writesAtomically() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("curve-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try Self.curve(400).write(to: folder.appendingPathComponent("loss_curve.png"))
    try Self.curve(12).write(to: folder.appendingPathComponent("loss_curve.svg"))
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == ["loss_curve.png", "loss_curve.svg"])
    #expect(throws: (any Error).self) { try Self.curve(5).write(to: folder.appendingPathComponent("none/x.png")) }
  }
}
