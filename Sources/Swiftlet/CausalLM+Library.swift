import Foundation
import Models

extension CausalLM {
  /// Opens a model by a folder, a GGUF file, or `org/name`, which is looked up in the cache, else downloaded.
  ///
  /// - Parameter inFloat32: whether all weights become float32, for training every one of them.
  /// - Throws: `SwiftletError` naming the file at fault.
  public static func open(_ name: String, revision: String? = nil, inFloat32: Bool = false) async throws -> CausalLM {
    try CausalLM(opening: await ModelLocation.find(name, revision: revision), inFloat32: inFloat32)
  }

  /// What the model answers to a user's message; a model without a chat template continues the text.
  /// - Throws: `SwiftletError` for a text that is empty or too long.
  public func answer(
    _ text: String, system: String? = nil, sampling: SamplingConfiguration = SamplingConfiguration(),
    maxNewTokens: Int = 128
  ) throws -> String {
    try Question(text, system: system).answer(by: self, sampling: sampling, maxNewTokens: maxNewTokens)
  }
}
