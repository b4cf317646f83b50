"""Front door 2: the Textual app. One Screen a panel; text from data passes `safe` before it is shown."""
