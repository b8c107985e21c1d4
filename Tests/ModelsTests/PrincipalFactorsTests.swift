import Foundation
import Models
import OrderedJSON
import Tensors
import Testing

/// PiSSA: updates that begin with the principal singular vectors of their layers' weights.
@Suite struct PrincipalFactorsTests {
  private static func transformer() throws -> Transformer { try FamilyTests.transformer("llama") }

  private static func configuration(_ iterations: Int?, rank: Int = 4) -> LoRAConfiguration {
    var configuration = LoRAConfiguration.lora(rank: rank, alpha: 8, targetModules: .allLinear)
    configuration.initialization = .pissa(iterations: iterations)
    return configuration
  }

  /// scale · B A of a layer's update, `[out, in]`.
  private static func product(_ layer: Linear, on backend: any Backend) throws -> [Double] {
    let update = try #require(layer.lora)
    let (a, b) = (backend.floats(update.a.value), backend.floats(update.b.value))
    let (rank, width) = (update.rank, layer.inputSize)
    return (0..<layer.outputSize).flatMap { row in
      (0..<width).map { column in
        (0..<rank).reduce(0.0) { $0 + Double(b[row * rank + $1]) * Double(a[$1 * width + column]) }
          * Double(update.scale)
      }
    }
  }

  private static func norm(_ values: [Double]) -> Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }

  /// PEFT's initial products for every layer, by `torch.linalg.svd`.
  @Test func exactFactorsEqualPEFT() throws {
    let transformer = try Self.transformer()
    let adapter = try Adapter(Self.configuration(nil), on: transformer, seed: 1)
    let expected = try #require(Goldens.json("peft/pissa_products.json").object)
    #expect(expected.members.count == adapter.layers.count)
    for layer in adapter.layers {
      let summary = try #require(expected[layer.path])
      let found = try Self.product(layer, on: transformer.backend)
      let norm = try #require(summary["l2"]?.double)
      #expect(abs(Self.norm(found) - norm) < 1e-5 * norm, "\(layer.path)")
      let first = (summary["first"]?.floats ?? []).map { Double($0) }
      for (a, b) in zip(found, first) { #expect(abs(a - b) < 1e-5 * norm, "\(layer.path)") }
    }
  }

  /// Halko's method with a few iterations is nearly as good: the rest of the weight is hardly larger.
  @Test(arguments: [0, 2, 16]) func iterationsApproachTheBestFactors(_ iterations: Int) throws {
    func rests(_ iterations: Int?) throws -> [Double] {
      let transformer = try Self.transformer()
      let adapter = try Adapter(Self.configuration(iterations), on: transformer, seed: 1)
      return try adapter.layers.map { layer in
        let weight = transformer.backend.floats(layer.weight.value).map(Double.init)
        return Self.norm(zip(weight, try Self.product(layer, on: transformer.backend)).map { $0 - $1 })
      }
    }
    let bound = iterations == 0 ? 1.2 : iterations == 2 ? 1.05 : 1.005
    for (best, found) in zip(try rests(nil), try rests(iterations)) {
      #expect(found >= best * (1 - 1e-6) && found < best * bound)
    }
  }

  /// Until it is trained, the adapter changes nothing beyond rounding.
  @Test(arguments: [nil, 4] as [Int?]) func newAdaptersChangeNothing(_ iterations: Int?) throws {
    let transformer = try Self.transformer()
    let before = AdapterTests.logits(transformer, [4, 5, 6])
    _ = try Adapter(Self.configuration(iterations), on: transformer, seed: 1)
    #expect(relativeError(AdapterTests.logits(transformer, [4, 5, 6]), before) < 1e-6)
  }

  /// Saved is a plain adapter of twice the rank and the same scale, for the base model as it is.
  @Test(arguments: [false, true]) func savedAsAPlainAdapter(usesRSLoRA: Bool) throws {
    let transformer = try Self.transformer()
    var configuration = Self.configuration(nil)
    configuration.usesRSLoRA = usesRSLoRA
    let adapter = try Adapter(configuration, on: transformer, seed: 1)
    for parameter in adapter.parameters { transformer.backend.scale(parameter.value, by: 1.25) }
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    try adapter.write(to: folder, base: "base")
    let json = try JSONValue(parsing: Data(contentsOf: folder.appendingPathComponent("adapter_config.json")))
    #expect(json["r"] == 8 && json["init_lora_weights"] == true)
    let other = try Self.transformer()
    let read = try Adapter(reading: folder, onto: other)
    #expect(read.layers.allSatisfy { $0.lora?.rank == 8 && $0.lora?.initial == nil })
    let ours = AdapterTests.logits(transformer, [4, 5, 6])
    #expect(relativeError(AdapterTests.logits(other, [4, 5, 6]), ours) < 1e-6)
    #expect(relativeError(ours, AdapterTests.logits(try Self.transformer(), [4, 5, 6])) > 1e-3)
  }

  @Test func contradictionsAreRefused() throws {
    func message(_ base: String = "llama", _ change: (inout LoRAConfiguration) -> Void) throws -> String {
      var configuration = Self.configuration(nil)
      change(&configuration)
      let transformer = try FamilyTests.transformer(base)
      return AdapterTests.message { _ = try Adapter(configuration, on: transformer, seed: 1) }
    }
    #expect(try message { $0.usesDoRA = true }.contains("use_dora"))
    #expect(try message { $0.rank = 33 }.contains("at most 32"))
    #expect(
      try message {
        $0.usesRSLoRA = true
        $0.rankPattern = [.init("q_proj", 2)]
      }.contains("use_rslora"))
    #expect(try message { $0.hasBias = true }.contains("lora_bias"))
  }
}
