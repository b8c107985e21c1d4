/// What is wrong, or worth a look, in a row of a dataset.
public enum FindingKind: String, Sendable, CaseIterable, Codable {
  /// Training cannot use the row.
  case unreadable
  /// The prompt or the answer is missing or blank.
  case empty
  /// The same prompt and answer as in an earlier row.
  case exactDuplicate = "exact_duplicate"
  /// Almost the same text as in an earlier row.
  case nearDuplicate = "near_duplicate"
  /// The same prompt as in an earlier row, with another answer.
  case conflictingAnswers = "conflicting_answers"
  /// The row, or almost the same one, is also a validation row.
  case inValidation = "in_validation"
  /// The answer stops in the middle, or `max_length` cuts it off.
  case truncated
  /// The language differs from that of the other rows.
  case otherLanguage = "other_language"
  /// The answer's format (JSON, code, list, ...) differs from that of the other rows.
  case otherFormat = "other_format"
  /// The prompt or the answer is much longer or shorter than the others.
  case outlierLength = "outlier_length"
  /// Special tokens or parts of a chat template inside the text.
  case templateText = "template_text"
  /// A thinking block is missing, duplicated or not closed.
  case thinking
  /// The arguments of a tool call are JSON inside a JSON string.
  case doubleEncodedArguments = "double_encoded_arguments"

  /// The base model gives the answer already.
  case knownAlready = "known_already"
  /// The answer is far less likely for the base model than the others.
  case surprising
  /// The loss rose in training.
  case gotWorse = "got_worse"
  /// The loss hardly fell in training, although that of most rows did.
  case neverLearned = "never_learned"
  /// The loss fell far, but not that of similar validation rows.
  case memorized

  /// The kinds that need no model.
  public static let ofRows: [FindingKind] = allCases.filter { !ofLosses.contains($0) }
  /// The kinds that need the losses of a model.
  public static let ofLosses: [FindingKind] = [.knownAlready, .surprising, .gotWorse, .neverLearned, .memorized]

  /// The heading of a table.
  public var title: String {
    switch self {
    case .unreadable: "unusable rows"
    case .empty: "empty prompts or answers"
    case .exactDuplicate: "exact duplicates"
    case .nearDuplicate: "near duplicates"
    case .conflictingAnswers: "same prompt, different answers"
    case .inValidation: "also in the validation set"
    case .truncated: "truncated answers"
    case .otherLanguage: "another language"
    case .otherFormat: "another format"
    case .outlierLength: "unusual length"
    case .templateText: "template text or special tokens"
    case .thinking: "thinking blocks"
    case .doubleEncodedArguments: "tool arguments encoded twice"
    case .knownAlready: "known already"
    case .surprising: "surprising answers"
    case .gotWorse: "worse after training"
    case .neverLearned: "never learned"
    case .memorized: "memorized"
    }
  }

  /// What to do about it, as a sentence.
  public var action: String {
    switch self {
    case .unreadable: "Fix or drop them; training stops at the first one."
    case .empty: "Fill in the text, or drop the rows."
    case .exactDuplicate: "Drop all but the first, unless they are repeated on purpose."
    case .nearDuplicate: "Drop all but the first, unless the difference matters."
    case .conflictingAnswers: "Keep the best answer, or add to the prompt what tells the cases apart."
    case .inValidation: "Drop the training rows; otherwise the validation loss is too good."
    case .truncated: "Complete the answers or drop the rows; if max_length cuts them, raise it."
    case .otherLanguage: "Drop them, unless the model should answer in this language too."
    case .otherFormat: "Convert the answers or drop the rows, unless the prompt asks for this format."
    case .outlierLength: "Look at them; they are often broken exports or several rows in one."
    case .templateText: "Remove this text; the chat template adds its own."
    case .thinking: "Give every answer one complete thinking block, or none."
    case .doubleEncodedArguments: "Decode the arguments once, so that they are an object."
    case .knownAlready: "They teach nothing new; drop some of them if there are many."
    case .surprising: "Look at these first: wrong answers, wrong languages and broken text are among them."
    case .gotWorse: "Look whether they contradict the other rows."
    case .neverLearned: "Look whether the prompt says what the answer needs; wrong answers are never learned either."
    case .memorized: "Use fewer epochs, or more rows of this kind."
    }
  }
}
