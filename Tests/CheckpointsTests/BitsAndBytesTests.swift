import Diagnostics
import Checkpoints
import Foundation
import OrderedJSON
import Tensors
import Testing

/// 4-bit quantization compared bit by bit with bitsandbytes (Tests/Goldens/generators/quantization.py).
struct BitsAndBytesTests {
  private static let golden = Golden.folder.deletingLastPathComponent().appending(path: "quantization")
  private static let backend = CPUBackend(threads: 2)

  /// `even.nf4.64.nested` and the like.
  struct Case: CustomTestStringConvertible, Sendable {
    let input: String
    let format: FourBitFormat
    var testDescription: String {
      "\(input).\(format.type.rawValue).\(format.blockSize)\(format.doubleQuantized ? ".nested" : "")"
    }
  }

  static let cases: [Case] = {
    var cases: [Case] = []
    for input in ["even", "odd", "rows", "large", "edges"] {
      for type in [ElementType.nf4, .fp4] {
        for size in input == "large" ? [64] : [64, 128] {
          for doubleQuantized in [false, true] {
            cases.append(
              Case(input: input, format: FourBitFormat(type, blockSize: size, doubleQuantized: doubleQuantized)))
          }
        }
      }
    }
    return cases
  }()

  private static func tensors() throws -> SafetensorsCheckpoint {
    try SafetensorsCheckpoint(contentsOf: golden.appending(path: "tensors.safetensors"))
  }

  @Test(arguments: cases) func quantizesToTheBytesOfBitsAndBytes(_ test: Case) throws {
    let theirs = try Self.tensors()
    let input = try #require(theirs.tensor(named: "\(test.input).input"))
    for target in InstructionSet.allCases {
      try target.run {
        let codes = try #require(Self.backend.quantized(input, to: test.format))
        let ours = TensorSource.bitsandbytes(name: "\(test.testDescription).weight", codes, dtype: input.type)
        #expect(ours.count == (test.format.doubleQuantized ? 6 : 4))
        for source in ours {
          let their = try #require(theirs.tensor(named: source.name), "\(source.name)")
          let our = try source.load()
          #expect(our.type == their.type && our.shape == their.shape, "\(source.name)")
          let isEqual = our.bytes == their.bytes
          #expect(isEqual, "\(target), \(source.name)")
        }
      }
    }
  }

  @Test(arguments: cases) func dequantizesToTheValuesOfBitsAndBytes(_ test: Case) throws {
    let theirs = try Self.tensors()
    let codes = try #require(try theirs.weight(named: "\(test.testDescription).weight"))
    let input = try #require(theirs.tensor(named: "\(test.input).input"))
    #expect(codes.shape == input.shape && codes.fourBitFormat == test.format && codes.scales?.original == input.type)
    guard let values = theirs.tensor(named: "\(test.testDescription).dequantized") else { return }
    for target in InstructionSet.allCases {
      target.run {
        let ours = Self.backend.converted(codes, to: values.type)
        // For rows with an odd number of elements, bitsandbytes uses another kernel, in which zeros lose their sign.
        let isEqual =
          input.columns % 2 == 0
          ? ours.bytes == values.bytes : Self.backend.floats(ours) == Self.backend.floats(values)
        #expect(isEqual, "\(target)")
      }
    }
  }

  @Test func readsWhatItWrites() throws {
    let folder = try TemporaryFolder()
    let theirs = try Self.tensors()
    let file = folder.url.appending(path: "model.safetensors")
    let formats = [FourBitFormat(.nf4, doubleQuantized: true), FourBitFormat(.fp4, blockSize: 2048)]
    let input = try #require(theirs.tensor(named: "large.input"))
    let tensors = try formats.map { try #require(Self.backend.quantized(input, to: $0)) }
    try SafetensorsWriter.write(
      tensors.enumerated().flatMap { TensorSource.bitsandbytes(name: "layer.\($0)", $1, dtype: .float16) },
      metadata: ["format": "pt"], to: file)
    let read = try SafetensorsCheckpoint(contentsOf: file)
    for (index, tensor) in tensors.enumerated() {
      let again = try #require(try read.weight(named: "layer.\(index)"))
      #expect(again.fourBitFormat == formats[index] && again.shape == [130, 130] && again.bytes == tensor.bytes)
      #expect(Self.backend.floats(again) == Self.backend.floats(tensor))
      #expect(again.scales?.original == .float16)
    }
    #expect(try read.weight(named: "layer.2") == nil)
  }

  // MARK: Hostile files

  /// The tensors of a valid file by name, to be damaged by a test.
  private func parts(doubleQuantized: Bool) throws -> [String: Tensor] {
    let values = (0..<96 * 40).map { (index: Int) -> Float in Float(index * 7919 % 101 - 50) / 50 }
    let weight = Self.backend.tensor(values, [96, 40])
    let codes = try #require(Self.backend.quantized(weight, to: FourBitFormat(doubleQuantized: doubleQuantized)))
    let sources = TensorSource.bitsandbytes(name: "w", codes, dtype: .float32)
    return Dictionary(uniqueKeysWithValues: try sources.map { ($0.name, try $0.load()) })
  }

  private func failure(_ parts: [String: Tensor]) throws -> SwiftletError? {
    let folder = try TemporaryFolder()
    let file = folder.url.appending(path: "model.safetensors")
    try SafetensorsWriter.write(
      tensors: parts.sorted { $0.key < $1.key }.map { (name: $0.key, tensor: $0.value) }, metadata: [:], to: file)
    let checkpoint = try SafetensorsCheckpoint(contentsOf: file)
    do {
      _ = try checkpoint.weight(named: "w")
      return nil
    } catch {
      return error
    }
  }

  @Test(arguments: [false, true]) func readsValidParts(doubleQuantized: Bool) throws {
    #expect(try failure(parts(doubleQuantized: doubleQuantized)) == nil)
  }

  @Test(arguments: [false, true]) func requiresEveryPart(doubleQuantized: Bool) throws {
    for name in try parts(doubleQuantized: doubleQuantized).keys where name != "w" && !name.hasSuffix(".quant_map") {
      var damaged = try parts(doubleQuantized: doubleQuantized)
      damaged[name] = nil
      let error = try #require(try failure(damaged), "without \(name)")
      #expect(error.location.file?.hasSuffix("model.safetensors") == true && error.reason.contains("\"w\""))
    }
  }

  @Test(arguments: [false, true]) func rejectsPartsOfTheWrongSizeOrType(doubleQuantized: Bool) throws {
    for name in try parts(doubleQuantized: doubleQuantized).keys {
      for other in [Tensor.float32([1, 2, 3], shape: [3]), .tensor(.uint8, shape: [5], [1, 2, 3, 4, 5])] {
        var damaged = try parts(doubleQuantized: doubleQuantized)
        damaged[name] = other
        #expect(try failure(damaged) != nil, "\(name)")
      }
    }
  }

  @Test(arguments: [
    "", "{", "[]", "null", "\u{FF}", #"{"quant_type": "fp4"}"#, #"{"quant_type": "nf4"}"#,
    #"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [96]}"#,
    #"{"quant_type": "nf4", "blocksize": 63, "dtype": "float32", "shape": [96, 40]}"#,
    #"{"quant_type": "nf4", "blocksize": 0, "dtype": "float32", "shape": [96, 40]}"#,
    #"{"quant_type": "nf4", "blocksize": -64, "dtype": "float32", "shape": [96, 40]}"#,
    #"{"quant_type": "nf4", "blocksize": 64, "dtype": "int8", "shape": [96, 40]}"#,
    #"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": null}"#,
    #"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [96, "40"]}"#,
    #"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [-96, -40]}"#,
    #"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [0, 40]}"#,
    #"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [4294967296, 4294967296, 96, 40]}"#,
    #"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [9223372036854775807]}"#,
    #"{"quant_type": "nf4", "blocksize": 128, "dtype": "float32", "shape": [96, 40]}"#,
    #"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [96, 40], "nested_blocksize": 64}"#,
    #"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [96, 40], "nested_blocksize": 256}"#,
    #"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [96, 40], "nested_blocksize": 256, "nested_offset": 1e999}"#,
  ]) func rejectsDamagedStates(_ state: String) throws {
    var damaged = try parts(doubleQuantized: true)
    let bytes = Array(state.utf8)
    damaged["w.quant_state.bitsandbytes__nf4"] = .tensor(.uint8, shape: [bytes.count], bytes)
    let error = try #require(try failure(damaged))
    #expect(error.reason.contains("download it again") && !error.reason.contains("\n"))
  }

  /// States with random bytes changed are read or rejected in one line.
  @Test func randomStatesNeverTrap() throws {
    let whole = try parts(doubleQuantized: true)
    let name = "w.quant_state.bitsandbytes__nf4"
    let state = try #require(whole[name]).bytes
    var random = Random(state: 3)
    for _ in 0..<300 {
      var damaged = whole
      let bytes = mutated(state, with: &random)
      damaged[name] = .tensor(.uint8, shape: [bytes.count], bytes)
      if let error = try failure(damaged) {
        #expect(!error.description.contains("\n") && error.description.count < 700)
      }
    }
  }

  @Test func rejectsAnotherMap() throws {
    var damaged = try parts(doubleQuantized: false)
    damaged["w.quant_map"] = .float32([Float](repeating: 0.5, count: 16), shape: [16])
    #expect(try failure(damaged)?.reason.contains("quant_map") == true)
  }
}
