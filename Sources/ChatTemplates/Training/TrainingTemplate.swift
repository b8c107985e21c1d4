import Diagnostics
import OrderedJSON

/// Chat templates for training with `assistant_only_loss`.
///
/// Most models' templates do not mark the assistant's tokens with `{% generation %}`. TRL replaces the templates of
/// some families with training templates that do. Some of these also render differently from the original: Qwen3's
/// keeps the `<think>` block in every turn, so that adding a message never changes how earlier messages are rendered.
///
/// Swiftlet makes the same training templates by editing the model's own template. If a model's template behaves like
/// that of a known family but is written differently, Swiftlet replaces it with a template of its own.
public enum TrainingTemplate {
  /// What replaced a model's template, for reports.
  public struct Replacement: Sendable, Hashable {
    /// The model family the template was recognized as, such as "Qwen3".
    public let family: String
    /// Whether the training template renders the reasoning of every turn, which the original does not.
    public let keepsReasoning: Bool

    /// A sentence about the replacement, for the preparation report.
    public var description: String {
      "assistant_only_loss: the model's chat template was replaced by the training template for \(family)"
        + (keepsReasoning ? ", which renders the reasoning of every assistant turn" : "")
    }
  }

  /// The training template for a model's template; `nil` if its family is unknown.
  static func replacing(_ source: String) -> (source: String, replacement: Replacement)? {
    for edits in TrainingTemplateEdits.all {
      if let edited = edits.apply(to: source) {
        return (edited, Replacement(family: edits.family, keepsReasoning: edits.keepsReasoning))
      }
    }
    guard let template = try? ChatTemplate(source) else { return nil }
    return RecognizedFamily.matching(template).map { family in
      (family.trainingTemplate, Replacement(family: family.name, keepsReasoning: family.keepsReasoning))
    }
  }
}

/// How TRL 1.16 turns the template of a model family into a training template, as edits of the original.
struct TrainingTemplateEdits: Sendable {
  /// The replacement of a piece of text that occurs exactly once.
  struct Edit: Sendable {
    let anchor: String
    let replacement: String

    init(replace anchor: String, with replacement: String) {
      self.anchor = anchor
      self.replacement = replacement
    }

    init(insert text: String, before anchor: String) { self.init(replace: anchor, with: text + anchor) }

    init(insert text: String, after anchor: String) { self.init(replace: anchor, with: anchor + text) }
  }

  let family: String
  let keepsReasoning: Bool
  let edits: [Edit]

  /// The edited template; `nil` unless every anchor occurs exactly once.
  func apply(to source: String) -> String? {
    var bytes = Array(source.utf8)
    for edit in edits {
      let anchor = Array(edit.anchor.utf8)
      guard let start = PythonText.firstIndex(of: anchor, in: bytes),
        PythonText.firstIndex(of: anchor, in: bytes, from: start + 1) == nil
      else { return nil }
      bytes.replaceSubrange(start..<start + anchor.count, with: edit.replacement.utf8)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  static let all: [TrainingTemplateEdits] = [
    cohere, cohere2, deepSeekR1Distill, deepSeekV3, diffusionGemma, gemma, gemma3, glm4MoE, gptOSS, idefics3, lfm2,
    lfm2Revision2, llama3, llavaNeXT, museGlimmer, nemotron3, phi3, qwen25, qwen25VL, qwen3, qwen3Instruct2507,
    qwen3VL, qwen35, qwen36, qwen38, smolVLM,
  ]
}
