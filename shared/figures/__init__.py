"""What the notebooks share: tables of claims (`tables`), charts in one style (`plots`), feature maps (`maps`),
detections (`boxes`), and what every notebook does alike (`report`)."""
