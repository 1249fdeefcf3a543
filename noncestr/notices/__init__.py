"""What miners are told, by which ways, once each."""
