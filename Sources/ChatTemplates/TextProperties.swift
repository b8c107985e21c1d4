/// Python's `str.is...` methods.
extension PythonText {
  /// `str.islower`: at least one cased letter, and all of them lowercase.
  static func isLower(_ text: String) -> Bool {
    var found = false
    for scalar in text.unicodeScalars where scalar.properties.isCased {
      if !scalar.properties.isLowercase { return false }
      found = true
    }
    return found
  }

  /// `str.isupper`.
  static func isUpper(_ text: String) -> Bool {
    var found = false
    for scalar in text.unicodeScalars where scalar.properties.isCased {
      if !scalar.properties.isUppercase { return false }
      found = true
    }
    return found
  }

  /// `str.swapcase`.
  static func swappedCase(_ text: String) -> String {
    text.unicodeScalars.reduce(into: "") { result, scalar in
      result +=
        scalar.properties.isUppercase ? scalar.properties.lowercaseMapping : scalar.properties.uppercaseMapping
    }
  }

  /// `str.isidentifier`.
  static func isIdentifier(_ text: String) -> Bool {
    guard let first = text.unicodeScalars.first, first == "_" || first.properties.isXIDStart else { return false }
    return text.unicodeScalars.dropFirst().allSatisfy { $0.properties.isXIDContinue }
  }

  /// Whether a code point is in the class of `isalpha`, `isdigit` and so on.
  static func has(_ name: String, _ scalar: Unicode.Scalar) -> Bool {
    let properties = scalar.properties
    var isLetter: Bool {
      switch properties.generalCategory {
      case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
      default: false
      }
    }
    switch name {
    case "isspace": return isSpace(scalar)
    case "isalpha": return isLetter
    case "isdecimal": return properties.numericType == .decimal
    case "isdigit": return properties.numericType == .decimal || properties.numericType == .digit
    case "isnumeric": return properties.numericType != nil
    default: return isLetter || properties.numericType != nil
    }
  }
}
